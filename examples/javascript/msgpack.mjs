// The part of msgpack the links use, both ways. Bytes are Uint8Array, integers beyond 2⁵³ are BigInt, and there are no
// extension types. Numbers are written as short as they go, so equal values have equal bytes.

const NO_BYTES = Buffer.alloc(0);
const utf8 = new TextDecoder('utf-8', { fatal: true });

export function encode(value) {
  const parts = [];
  write(value, parts);
  return Buffer.concat(parts);
}

export function decode(bytes) {
  const reader = { data: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), at: 0 };
  const value = read(reader);
  if (reader.at !== reader.data.length) throw new RangeError('There are bytes after the end of a msgpack value.');
  return value;
}

// --- writing ---------------------------------------------------------------------------------

function write(value, parts) {
  if (value === null || value === undefined) parts.push(Buffer.of(0xc0));
  else if (typeof value === 'boolean') parts.push(Buffer.of(value ? 0xc3 : 0xc2));
  else if (typeof value === 'bigint' || (Number.isSafeInteger(value) && !Object.is(value, -0))) parts.push(integer(value));
  else if (typeof value === 'number') parts.push(float(value));
  else if (typeof value === 'string') {
    const data = Buffer.from(value);
    parts.push(sized(data.length, 0xa0, 32, [0xd9, 0xda, 0xdb]), data);
  } else if (value instanceof Uint8Array) {
    parts.push(sized(value.length, 0, 0, [0xc4, 0xc5, 0xc6]), value);
  } else if (Array.isArray(value)) {
    parts.push(sized(value.length, 0x90, 16, [0, 0xdc, 0xdd]));
    for (const each of value) write(each, parts);
  } else if (typeof value === 'object') {
    const entries = Object.entries(value);
    parts.push(sized(entries.length, 0x80, 16, [0, 0xde, 0xdf]));
    for (const pair of entries) for (const each of pair) write(each, parts);
  } else throw new TypeError(`A ${typeof value} cannot be written as msgpack.`);
}

// A length: within the first byte below `limit`, else in 1, 2 or 4 bytes behind its own first byte (0: no such form).
function sized(length, fixed, limit, [one, two, four]) {
  if (length < limit) return Buffer.of(fixed | length);
  if (one && length < 0x100) return headed(one, length, 1);
  return length < 0x10000 ? headed(two, length, 2) : headed(four, length, 4);
}

function integer(value) {
  if (value >= -32 && value < 128) return Buffer.of(Number(value) & 0xff);
  const bits = value < 0 ? [7, 15, 31] : [8, 16, 32];
  const width = bits.findIndex((each) => (value < 0 ? value >= -(2 ** each) : value < 2 ** each));
  if (width >= 0) return headed((value < 0 ? 0xd0 : 0xcc) + width, Number(value), 1 << width);
  const data = Buffer.of(value < 0 ? 0xd3 : 0xcf, 0, 0, 0, 0, 0, 0, 0, 0);
  if (value < 0) data.writeBigInt64BE(BigInt(value), 1);
  else data.writeBigUInt64BE(BigInt(value), 1);
  return data;
}

function headed(first, number, width) {
  const data = Buffer.of(first, ...new Array(width).fill(0));
  if (number < 0) data.writeIntBE(number, 1, width);
  else data.writeUIntBE(number, 1, width);
  return data;
}

function float(value) {
  const data = Buffer.of(0xcb, 0, 0, 0, 0, 0, 0, 0, 0);
  data.writeDoubleBE(value, 1);
  return data;
}

// --- reading ---------------------------------------------------------------------------------

function read(reader) {
  const first = take(reader, 1)[0];
  if (first < 0x80) return first;
  if (first >= 0xe0) return first - 0x100;
  if (first < 0x90) return map(reader, first & 0x0f);
  if (first < 0xa0) return list(reader, first & 0x0f);
  if (first < 0xc0) return utf8.decode(take(reader, first & 0x1f));
  switch (first) {
    case 0xc0: return null;
    case 0xc2: return false;
    case 0xc3: return true;
    case 0xc4: case 0xc5: case 0xc6: return Uint8Array.from(take(reader, unsigned(reader, 1 << (first - 0xc4))));
    case 0xca: return take(reader, 4).readFloatBE();
    case 0xcb: return take(reader, 8).readDoubleBE();
    case 0xcc: case 0xcd: case 0xce: return unsigned(reader, 1 << (first - 0xcc));
    case 0xcf: return small(take(reader, 8).readBigUInt64BE());
    case 0xd0: case 0xd1: case 0xd2: return take(reader, 1 << (first - 0xd0)).readIntBE(0, 1 << (first - 0xd0));
    case 0xd3: return small(take(reader, 8).readBigInt64BE());
    case 0xd9: case 0xda: case 0xdb: return utf8.decode(take(reader, unsigned(reader, 1 << (first - 0xd9))));
    case 0xdc: case 0xdd: return list(reader, unsigned(reader, 2 << (first - 0xdc)));
    case 0xde: case 0xdf: return map(reader, unsigned(reader, 2 << (first - 0xde)));
    default: throw new RangeError(`No value of the links begins with the byte 0x${first.toString(16)}.`);
  }
}

function take(reader, length) {
  if (length > reader.data.length - reader.at) throw new RangeError('A msgpack value ends too early.');
  const part = length ? reader.data.subarray(reader.at, reader.at + length) : NO_BYTES;
  reader.at += length;
  return part;
}

const unsigned = (reader, width) => take(reader, width).readUIntBE(0, width);
const small = (value) => (Number.isSafeInteger(Number(value)) ? Number(value) : value);

function list(reader, length) {
  const found = [];
  for (let left = length; left; left--) found.push(read(reader));
  return found;
}

// `fromEntries` makes every key an own property, `__proto__` too.
const map = (reader, length) => Object.fromEntries(list(reader, 2 * length).reduce(paired, []));
const paired = (pairs, each, at) => (at % 2 ? pairs.at(-1).push(each) : pairs.push([each]), pairs);
