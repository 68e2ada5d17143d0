// The golden vectors (docs/protocol/vectors.json) against msgpack.mjs and Node's own cryptography:
//   node --test examples/javascript
import assert from 'node:assert/strict';
import { createHash, createPublicKey, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { decode, encode } from './msgpack.mjs';

const vectors = JSON.parse(readFileSync(new URL('../../docs/protocol/vectors.json', import.meta.url)));
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, 'hex'));
const hex = (data) => Buffer.from(data).toString('hex');
const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();

// What JSON cannot say stands as {"$bytes": …}, {"$int": …} or {"$float": …}. A whole float is written as an integer
// here: JavaScript does not tell them apart, and the hub takes both.
let whole = false;
function meant(shown) {
  if (Array.isArray(shown)) return shown.map(meant);
  if (shown === null || typeof shown !== 'object') return shown;
  if ('$bytes' in shown) return bytes(shown.$bytes);
  if ('$int' in shown) return Number.isSafeInteger(Number(shown.$int)) ? Number(shown.$int) : BigInt(shown.$int);
  if ('$float' in shown) return (whole = true), Number(shown.$float);
  return Object.fromEntries(Object.entries(shown).map(([key, each]) => [key, meant(each)]));
}

for (const [name, cases] of [['values', vectors.msgpack], ['frames', vectors.messages]]) {
  test(`${name} are read and written as the vectors say`, () => {
    assert.ok(cases.length > 50);
    for (const { value, hex: data = undefined, frame = data } of cases) {
      whole = false;
      const expected = meant(value);
      assert.deepEqual(decode(bytes(frame)), expected);
      if (!whole) assert.equal(hex(encode(expected)), frame);
      else assert.deepEqual(decode(encode(expected)), expected);
    }
  });
}

test('what is cut short, goes on, or is none of the links is an error', () => {
  for (const { frame } of vectors.messages) assert.throws(() => decode(bytes(frame.slice(0, -2))), RangeError);
  for (const wrong of ['', 'c1', '0000', 'c7040561626364', 'ddffffffff', 'c6ffffffff', 'a1ff']) {
    assert.throws(() => decode(bytes(wrong)), /msgpack|links|encoded/, wrong);
  }
  assert.throws(() => encode(() => 1), TypeError);
});

test('a key named __proto__ is a key', () => {
  const value = decode(bytes('81a95f5f70726f746f5f5f01'));
  assert.deepEqual(Object.keys(value), ['__proto__']);
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
});

test('leaves, root and signatures are those of a node', () => {
  const { grid, results, leaves, root, signed, signature, public_key, proof } = vectors.signing;
  const hashes = results.map((result) => {
    const usage = Buffer.alloc(32);
    for (const [at, name] of ['cpu_ms', 'wall_ms', 'memory_bytes', 'size'].entries()) {
      usage.writeBigUInt64BE(BigInt(result.usage[name]), 8 * at);
    }
    const { assignment, program, input, outcome, output } = result;
    const fields = [...[grid, assignment, program, input].map(bytes), Uint8Array.of(outcome), bytes(output), usage];
    const leaf = Buffer.concat([Buffer.from('crowdgrid-leaf-1'), ...fields]);
    assert.equal(hex(leaf), result.leaf);
    return sha256(Uint8Array.of(0), leaf);
  });
  assert.equal(hex(Buffer.concat(hashes)), leaves);
  assert.equal(hex(sha256(Uint8Array.of(1), sha256(Uint8Array.of(1), hashes[0], hashes[1]), hashes[2])), root);
  const x = Buffer.from(public_key, 'hex').toString('base64url');
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  assert.ok(verify(null, bytes(signed), key, bytes(signature)));
  assert.ok(verify(null, bytes(proof.signed), key, bytes(proof.signature)));
  assert.ok(!verify(null, bytes(proof.signed), key, bytes(signature)));
});
