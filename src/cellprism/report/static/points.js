// Many points onto a canvas: WebGL where it runs, else canvas 2D. One WebGL context serves every map of the page.

const VERTEX = `#version 300 es
in vec2 place; in vec4 colour;
uniform vec2 scale, shift; uniform float size;
out vec4 ink;
void main() { gl_Position = vec4(place * scale + shift, 0.0, 1.0); gl_PointSize = size; ink = colour; }`;

const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 ink; out vec4 pixel; uniform float size;
void main() {
  float edge = 0.5 - length(gl_PointCoord - 0.5);
  float a = ink.a * clamp(edge * size, 0.0, 1.0);
  if (a <= 0.0) discard;
  pixel = vec4(ink.rgb * a, a);
}`;

let shared = null;

function context() {
  if (shared !== null) return shared;
  shared = false;
  if (new URLSearchParams(location.search).has("canvas")) return shared; // asked for, where a driver misbehaves
  const canvas = document.createElement("canvas");
  const gl = canvas.getContext("webgl2", { antialias: false, premultipliedAlpha: true });
  if (!gl) return shared;
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return shared;
  const uniform = Object.fromEntries(["scale", "shift", "size"].map((n) => [n, gl.getUniformLocation(program, n)]));
  canvas.addEventListener("webglcontextlost", (event) => {
    event.preventDefault();
    shared = false; // the next drawing falls back
  });
  shared = { gl, canvas, program, uniform };
  return shared;
}

/** Points to be drawn again and again: `draw(target, view, radius)`, `colours(bytes, order)`, `free()`. */
export function points(xs, ys) {
  const n = xs.length;
  const state = { bytes: new Uint8Array(4 * n), order: Uint32Array.from({ length: n }, (_, i) => i) };
  let buffers = null;

  function upload(made) {
    const { gl, program } = made;
    const place = new Float32Array(2 * n);
    for (let i = 0; i < n; i++) [place[2 * i], place[2 * i + 1]] = [xs[i], ys[i]];
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    const attribute = (name, data, size, type, normalised) => {
      const buffer = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
      const at = gl.getAttribLocation(program, name);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, size, type, normalised, 0, 0);
      return buffer;
    };
    buffers = {
      array,
      place: attribute("place", place, 2, gl.FLOAT, false),
      colour: attribute("colour", state.bytes, 4, gl.UNSIGNED_BYTE, true),
      order: gl.createBuffer(),
      stale: true,
    };
  }

  function drawGl(made, target, view, radius) {
    const { gl, canvas, program, uniform } = made;
    const [w, h] = [target.canvas.width, target.canvas.height];
    if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
    gl.viewport(0, 0, w, h);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    if (!buffers) upload(made);
    gl.bindVertexArray(buffers.array);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffers.order);
    if (buffers.stale) {
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, state.order, gl.DYNAMIC_DRAW);
      gl.bindBuffer(gl.ARRAY_BUFFER, buffers.colour);
      gl.bufferData(gl.ARRAY_BUFFER, state.bytes, gl.DYNAMIC_DRAW);
      buffers.stale = false;
    }
    gl.uniform2f(uniform.scale, (2 * view.kx) / w, (-2 * view.ky) / h);
    gl.uniform2f(uniform.shift, (2 * view.x) / w - 1, 1 - (2 * view.y) / h);
    gl.uniform1f(uniform.size, 2 * radius + 1);
    gl.drawElements(gl.POINTS, n, gl.UNSIGNED_INT, 0);
    target.drawImage(canvas, 0, 0);
  }

  function drawFlat(target, view, radius) {
    let last = -1;
    const { bytes, order } = state;
    for (const i of order) {
      const key = (bytes[4 * i] << 16) | (bytes[4 * i + 1] << 8) | bytes[4 * i + 2];
      if (key !== last) {
        target.fillStyle = `rgba(${bytes[4 * i]},${bytes[4 * i + 1]},${bytes[4 * i + 2]},${bytes[4 * i + 3] / 255})`;
        last = key;
      }
      const [x, y] = [xs[i] * view.kx + view.x, ys[i] * view.ky + view.y];
      if (x < -radius || y < -radius || x > target.canvas.width + radius || y > target.canvas.height + radius) continue;
      if (radius < 2.5) target.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
      else {
        target.beginPath();
        target.arc(x, y, radius, 0, 7);
        target.fill();
      }
    }
  }

  return {
    colours(bytes, order) {
      state.bytes = bytes;
      if (order) state.order = order;
      if (buffers) buffers.stale = true;
    },
    /** `view` maps data to device pixels: x' = x * kx + x0. */
    draw(target, view, radius) {
      target.clearRect(0, 0, target.canvas.width, target.canvas.height);
      if (!n) return;
      const made = context();
      if (made) drawGl(made, target, view, radius);
      else drawFlat(target, view, radius);
    },
    free() {
      if (!buffers || !shared) return;
      for (const name of ["place", "colour", "order"]) shared.gl.deleteBuffer(buffers[name]);
      shared.gl.deleteVertexArray(buffers.array);
      buffers = null;
    },
  };
}
