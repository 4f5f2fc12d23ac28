/**
 * The reference of P4, P5, P5b and P7: Node, `ws` and `ioredis`. A publish is XADDed to the stream of its conversation,
 * PUBLISHed, and acked when both have answered; every socket of the two people gets the message.
 *
 * It promises less than the broker: no idempotency, no dense numbers over a restart, no membership, no resume, no login
 * (the bearer token is the user's id), and Redis with `everysec`. It speaks enough of webchat.v1 for the same generator.
 * Tuned as its authors advise: automatic pipelining, no compression, one subscriber connection.
 *
 *   node server.mjs --port 9000 --redis redis://127.0.0.1:6379 [--volatile]
 *
 * `--volatile`: PUBLISH only, and no ack before it.
 */
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';

import { Redis } from 'ioredis';
import { WebSocketServer } from 'ws';

const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    redis: { type: 'string', default: 'redis://127.0.0.1:6379' },
    volatile: { type: 'boolean', default: false },
  },
});

const CHANNEL = 'peer';
/** As the broker does: at most once a second for each conversation. */
const PERSISTED_EVERY_MS = 1_000;

const redis = new Redis(options.redis, { enableAutoPipelining: true });
const subscriber = new Redis(options.redis);
/** user → sockets */
const people = new Map();
/** conversation → last number */
const heads = new Map();
/** socket → conversation → last number acked, since the last `persisted` */
const acked = new Map();

const server = createServer((request, response) => {
  response.statusCode = request.url === '/readyz' ? 200 : 404;
  response.end();
});
const sockets = new WebSocketServer({ server, path: '/ws', perMessageDeflate: false });

sockets.on('connection', (socket, request) => {
  const user = (request.headers.authorization ?? '').slice('Bearer '.length);
  if (!/^[0-9a-f]{16}$/.test(user)) return socket.close(4401);
  const own = people.get(user) ?? new Set();
  people.set(user, own.add(socket));
  socket.on('close', () => {
    own.delete(socket);
    if (own.size === 0) people.delete(user);
    acked.delete(socket);
  });
  socket.on('message', (data) => {
    const frame = JSON.parse(data.toString());
    if (frame.type === 'hello') socket.send('{"type":"welcome","resume":"none"}');
    if (frame.type === 'publish') void publish(socket, user, frame);
  });
});

async function publish(socket, from, { conversation, producer, no, body }) {
  const seq = (heads.get(conversation) ?? 0) + 1;
  heads.set(conversation, seq);
  const ts = Date.now();
  const place = { conversation, epoch: 1, seq, producer, no, ts };
  const event = JSON.stringify({ type: 'message', ...place, ordinal: seq, from, body, at: `${seq}` });
  if (!options.volatile) await redis.xadd(`c:${conversation}`, '*', 'e', event);
  await redis.publish(CHANNEL, conversation + event);
  socket.send(JSON.stringify({ type: 'ack', ...place }));
  const mine = acked.get(socket) ?? new Map();
  acked.set(socket, mine.set(conversation, seq));
}

await subscriber.subscribe(CHANNEL);
subscriber.on('message', (_, text) => {
  const [one, other, event] = [text.slice(0, 16), text.slice(16, 32), text.slice(32)];
  // A group: everybody is in it.
  if (one >= '8') for (const socket of sockets.clients) socket.send(event);
  else for (const user of one === other ? [one] : [one, other])
    for (const socket of people.get(user) ?? []) socket.send(event);
});

setInterval(() => {
  for (const [socket, mine] of acked) {
    for (const [conversation, seq] of mine)
      socket.send(JSON.stringify({ type: 'persisted', conversation, epoch: 1, seq }));
    mine.clear();
  }
}, PERSISTED_EVERY_MS);

server.listen(Number(options.port), '127.0.0.1', () => {
  console.log(`peer: http://127.0.0.1:${server.address().port}`);
});
