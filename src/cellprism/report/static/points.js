// Many points onto a canvas: by WebGL where a graphics card runs it, else by hand. One WebGL context serves every map.

import { themed } from "./colour.js";
import { rasterise } from "./raster.js";

const VERTEX = `#version 300 es
in vec2 place; in vec4 colour;
uniform vec2 scale, shift; uniform float size;
out vec4 ink;
void main() { gl_Position = vec4(place * scale + shift, 0.0, 1.0); gl_PointSize = size; ink = colour; }`;

const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 ink; out vec4 pixel; uniform highp float size;
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
  const asked = new URLSearchParams(location.search);
  if (asked.has("canvas")) return shared; // where a driver misbehaves
  if (!globalThis.OffscreenCanvas) return shared;
  const canvas = new OffscreenCanvas(1, 1);
  const gl = canvas.getContext("webgl2", { antialias: false });
  if (!gl || (inSoftware(gl) && !asked.has("webgl"))) return shared;
  const program = gl.createProgram();
  for (const { type, source } of [{ type: gl.VERTEX_SHADER, source: VERTEX }, { type: gl.FRAGMENT_SHADER, source: FRAGMENT }]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return shared;
  const uniform = Object.fromEntries(["scale", "shift", "size"].map((n) => [n, gl.getUniformLocation(program, n)]));
  canvas.addEventListener("webglcontextlost", () => (shared = false)); // the next map falls back
  shared = { gl, canvas, program, uniform };
  return shared;
}

/** Whether no graphics card stands behind WebGL: then drawing by hand is quicker. */
function inSoftware(gl) {
  const told = gl.getExtension("WEBGL_debug_renderer_info");
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(gl.getParameter(told ? told.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
}

/** Points to be drawn on `canvas` again and again: `draw(view, radius)`, `colours(bytes, order)`, `free()`. */
export function points(canvas, xs, ys) {
  const n = xs.length;
  const made = context();
  // Pictures are handed from the one WebGL canvas to this one, which a "bitmaprenderer" takes without copying.
  const target = canvas.getContext(made ? "bitmaprenderer" : "2d");
  const state = { bytes: new Uint8Array(4 * n), order: Uint32Array.from({ length: n }, (_, i) => i) };
  let buffers = null;

  function upload() {
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

  function drawGl(view, radius) {
    const { gl, program, uniform } = made;
    const [w, h] = [canvas.width, canvas.height];
    if (made.canvas.width !== w || made.canvas.height !== h) [made.canvas.width, made.canvas.height] = [w, h];
    gl.viewport(0, 0, w, h);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    if (!buffers) upload();
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
    target.transferFromImageBitmap(made.canvas.transferToImageBitmap());
  }

  let image = null;
  function drawByHand(view, radius) {
    const [w, h] = [canvas.width, canvas.height];
    if (image?.width !== w || image?.height !== h) image = target.createImageData(w, h);
    rasterise(image, { xs, ys, ...state }, view, radius, d3.rgb(themed("--surface")));
    target.putImageData(image, 0, 0);
  }

  return {
    colours(bytes, order) {
      state.bytes = bytes;
      if (order) state.order = order;
      if (buffers) buffers.stale = true;
    },
    /** `view` maps data to device pixels: x' = x * kx + x0. */
    draw(view, radius) {
      document.documentElement.dataset.drawn = made ? "webgl" : "canvas";
      if (made) drawGl(view, radius);
      else drawByHand(view, radius);
    },
    free() {
      if (!buffers) return;
      for (const name of ["place", "colour", "order"]) made.gl.deleteBuffer(buffers[name]);
      made.gl.deleteVertexArray(buffers.array);
      buffers = null;
    },
  };
}
