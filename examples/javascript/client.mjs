// A client in plain JavaScript (Node 22 or newer, no packages): adds up what a program prints for pieces of a range.
//   CROWDGRID_URL=http://127.0.0.1:7070 CROWDGRID_TOKEN=cg_… node client.mjs primes.wasm 0 1000000
import { randomUUID } from 'node:crypto';
import { on } from 'node:events';
import { readFile } from 'node:fs/promises';
import { decode, encode } from './msgpack.mjs';

const VALIDATED = 5; // state of a task that has its answer
const { CROWDGRID_URL: hub, CROWDGRID_TOKEN: token } = process.env;
const headers = { Authorization: `Bearer ${token}` };

async function putProgram(file) {
  const body = new Blob([await readFile(file)], { type: 'application/wasm' });
  const response = await fetch(`${hub}/v1/programs`, { method: 'PUT', body, headers }).catch(({ cause, message }) => {
    throw new Error(`There is no hub at ${hub}: ${cause?.code ?? message}.`);
  });
  const told = await response.json(); // what the hub refuses it explains as problem+json
  if (!response.ok) throw new Error(`${told.detail} ${told.hint}`);
  return told.digest;
}

async function sum(program, start, stop) {
  const link = new WebSocket(`${hub.replace(/^http/, 'ws')}/v1/client`, { headers });
  const say = (...messages) => link.send(encode(messages)); // a frame is a list of messages
  const split = { kind: 'range', start, stop }; // sealed at once; items would be appended and then sealed
  const answers = new Map(); // by ordinal: a row may come twice, and a task's later row replaces the one before
  let job, reason;
  link.binaryType = 'arraybuffer';
  link.onopen = () => say(['open', 1, { program, split, reduce: 'sum', key: randomUUID() }]);
  link.onclose = (event) => { reason = event.reason; };
  for await (const [{ data }] of on(link, 'message', { close: ['close'] })) {
    for (const [tag, ...fields] of decode(new Uint8Array(data))) {
      const [message, hint] = fields.slice(tag === 'failed' ? 2 : 1);
      if (tag === 'failed' || tag === 'error') throw new Error(`${message} ${hint}`);
      if (tag === 'opened' || tag === 'job_update') job = fields[tag === 'opened' ? 1 : 0];
      if (tag === 'opened') say(['read', 2, job.id, -1, 1000]); // rows it may send before it is granted more
      if (tag !== 'results') continue;
      for (const [ordinal, , , state, outcome, payload, , error] of fields[1]) {
        if (state === VALIDATED && outcome !== 0) throw new Error(`The program failed: ${error}`);
        answers.set(ordinal, state === VALIDATED ? BigInt(Buffer.from(payload).toString()) : 0n);
      }
      say(['grant', job.id, fields[1].length]);
    }
    if (/invalid|failed|cancelled/.test(job?.state)) throw new Error(`The job is ${job.state}. ${job.reason}`);
    if (!/completed|final/.test(job?.state) || answers.size < job.counts.tasks) continue;
    say(['bye', 'It has its answer.']);
    link.close();
    return [...answers.values()].reduce((total, each) => total + each, 0n);
  }
  throw new Error(`The hub ended the link. ${reason}`);
}

try {
  const [start, stop] = process.argv.slice(3).map(Number);
  if (!hub || !(start <= stop)) throw new Error('Set CROWDGRID_URL and CROWDGRID_TOKEN; arguments: PROGRAM START STOP');
  console.log(`${await sum(await putProgram(process.argv[2]), start, stop)}`);
} catch ({ message }) {
  console.error(message);
  process.exit(1);
}
