// Blocks of typed arrays, from the page itself or from the server that sent it.

const MISSING = -32768;
const KEEP = 200; // chunks held unpacked; older ones are unpacked again when asked for

const TYPES = {
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  float32: Float32Array,
};

const held = new Map();

/** The block called `name`: `{ arrays, meta }`, unpacked once. */
export function readBlock(name) {
  const found = held.get(name);
  if (found) {
    held.delete(name); // to the young end
    held.set(name, found);
    return found;
  }
  const promise = bytesOf(name).then(unpack);
  held.set(name, promise);
  if (held.size > KEEP) held.delete(held.keys().next().value);
  promise.catch(() => held.delete(name));
  return promise;
}

async function bytesOf(name) {
  const from = document.documentElement.dataset.blocks;
  if (from) {
    const answer = await fetch(`${from}${encodeURIComponent(name)}`);
    if (!answer.ok) throw new Error(`The server has no block ${name} (${answer.status}).`);
    return answer.arrayBuffer(); // the server says Content-Encoding: gzip, so these are unpacked bytes
  }
  const node = document.getElementById(`block-${name}`);
  if (!node) throw new Error(`This page has no block ${name}.`);
  const packed = fromBase64(node.textContent);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

function unpack(buffer) {
  const size = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  const arrays = {};
  for (const [name, { dtype, at, n, step }] of Object.entries(header.arrays)) {
    const raw = new TYPES[dtype](buffer, 4 + size + at, n);
    arrays[name] = step === undefined ? raw : scaled(raw, step);
  }
  return { arrays, meta: header.meta };
}

function scaled(raw, step) {
  const out = new Float32Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw[i] === MISSING ? NaN : raw[i] * step;
  return out;
}
