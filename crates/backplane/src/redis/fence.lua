-- After another start of the server: who was here says what it has seen, and what was lost comes back (ADR 0007).
-- sim/fence.rs is the same in Rust. `lease_ms` is what a node's lease lasts; a node is a number as text.
--
-- Fields of the state, while it is closed: fence (the run for which it was closed), closed_at, unheard (something was lost
-- for certain, or may be), wait (the full lease, since the list of nodes may lack some), restoring (since when), base (the
-- highest epoch that anybody knows of), turn, turn_lease, turn_until; building (the new epoch), source, built, upto, built_n;
-- store (somebody who knows what is stored has answered).

local FENCE = {
  'fence', 'closed_at', 'unheard', 'wait', 'restoring', 'base', 'turn', 'turn_lease', 'turn_until',
  'building', 'source', 'built', 'upto', 'built_n', 'built_bytes', 'store',
}
local STEP_ENTRIES, STEP_BYTES = 64, 1048576

local function fence_of(keys)
  local values, fence = redis.call('HMGET', keys[STATE], unpack(FENCE)), {}
  for i, name in ipairs(FENCE) do
    fence[name] = values[i] or nil
  end
  return fence
end

local function forget_restoring(keys)
  redis.call('UNLINK', keys[ANSWERS], keys[GIVEN], keys[ORDER])
  redis.call('HDEL', keys[STATE], 'restoring', 'base', 'turn', 'turn_lease', 'turn_until', 'store')
  redis.call('HDEL', keys[STATE], 'source', 'built', 'upto', 'built_n', 'built_bytes')
end

-- Begins a fence for this run. One that was not opened again leaves its doubts to the next, and its epoch unused.
local function close(keys, state, run, now)
  forget_restoring(keys)
  set(keys, 'fence', run, 'closed_at', now)
  if not state.run or redis.call('HLEN', keys[NODES]) == 0 then
    set(keys, 'wait', '1')
  end
end

local function open(keys, run)
  forget_restoring(keys)
  redis.call('HDEL', keys[STATE], 'fence', 'closed_at', 'unheard', 'wait', 'building')
  set(keys, 'run', run)
end

-- Keeps the lease of a node of an open log. Those that ran out are forgotten: the log has outlived them.
local function keep_node(keys, node, now, lease_ms)
  local upto = tonumber(redis.call('HGET', keys[NODES], node) or 0)
  if upto - now > lease_ms * 0.7 then
    return upto
  end
  local nodes, gone = redis.call('HGETALL', keys[NODES]), {}
  for i = 1, #nodes, 2 do
    if tonumber(nodes[i + 1]) < now and nodes[i] ~= node then
      gone[#gone + 1] = nodes[i]
    end
  end
  if #gone > 0 then
    redis.call('HDEL', keys[NODES], unpack(gone))
  end
  redis.call('HSET', keys[NODES], node, text(now + lease_ms))
  return now + lease_ms
end

-- Whether a node that was part of the log in run `before` may be unknown to the fence of this one.
local function moved(state, before)
  return before ~= '' and before ~= state.run
end

-- Arguments: run, node, ahead, lease_ms, the run in which the node was listed last. Answers: {'closed', epoch}, or
-- {'open', epoch, n, lease until}. To a node that comes from another run the log is closed until it has called rejoin.
local function probe(keys, args)
  local state = state_of(keys)
  if closed(state, args[1]) or moved(state, args[5]) then
    return { 'closed', state.epoch }
  end
  local upto = keep_node(keys, args[2], now_ms(args[3]), tonumber(args[4]))
  return { 'open', state.epoch, state.n, upto }
end

-- An answer: epoch and n seen, epoch and n of W, whether it has had its turn.
local ANSWER = '<I4I8I4I8B'

local function answer(keys, fence, args, now)
  if args[12] == '1' then
    set(keys, 'store', '1')
    fence.store = '1'
  end
  local node, upto = args[2], tonumber(args[7])
  local listed = tonumber(redis.call('HGET', keys[NODES], node) or 0)
  if listed < upto and not redis.call('HGET', keys[ANSWERS], node) then
    -- The list does not hold a lease that this node was given: it is behind, and may lack others.
    set(keys, 'wait', '1')
    fence.wait = '1'
  end
  local gave = redis.call('HGET', keys[ANSWERS], node)
  gave = gave and select(5, parse(ANSWER, gave)) or 0
  local epoch, n, w_epoch, w = unpack(args, 3, 6)
  local packed = pack(ANSWER, tonumber(epoch), tonumber(n), tonumber(w_epoch), tonumber(w), gave)
  redis.call('HSET', keys[ANSWERS], node, packed)
  redis.call('HSET', keys[NODES], node, text(math.max(listed, now + tonumber(args[9]))))
end

-- Whether all have answered whom there is reason to wait for. Who is silent for a lease may have seen anything.
local function all_answered(keys, fence, now, lease_ms)
  local over = now >= tonumber(fence.closed_at) + lease_ms
  if fence.wait and not over then
    return false
  end
  local nodes = redis.call('HGETALL', keys[NODES])
  for i = 1, #nodes, 2 do
    if redis.call('HEXISTS', keys[ANSWERS], nodes[i]) == 0 then
      if not over then
        return false
      end
      redis.call('HDEL', keys[NODES], nodes[i])
      set(keys, 'unheard', '1')
      fence.unheard = '1'
    end
  end
  return true
end

-- Whether a place is behind the log's end.
local function lost(state, epoch, n)
  return epoch > state.epoch or (epoch == state.epoch and n > state.n)
end

-- Whether the log holds all that anybody has seen, and the highest epoch that anybody knows of.
local function compare(keys, state)
  local holds, base = true, state.epoch
  for _, packed in ipairs(redis.call('HVALS', keys[ANSWERS])) do
    local epoch, n, w_epoch = parse(ANSWER, packed)
    holds = holds and not lost(state, epoch, n)
    base = math.max(base, epoch, w_epoch)
  end
  return holds, base
end

-- The place up to which everything stands as it was: W, by the log or, if it has forgotten its epoch, by who remembers.
local function common_of(keys, state, base)
  local epoch, n = state.epoch, state.w
  if base == state.epoch then
    return epoch, n
  end
  for _, packed in ipairs(redis.call('HVALS', keys[ANSWERS])) do
    local _, _, w_epoch, w = parse(ANSWER, packed)
    if w_epoch > epoch or (w_epoch == epoch and w > n) then
      epoch, n = w_epoch, w
    end
  end
  return epoch, n
end

local function first_epoch(keys, args, now)
  set(keys, 'epoch', 1, 'n', 0, 'first', 0, 'w', 0, 'ts', 0, 'bytes', 0)
  set(keys, 'gen', 0, 'rotated', now, 'gen_n', 0, 'ask', 0, 'ce', 0, 'cn', 0)
  open(keys, args[1])
  return { 'open', 1, 0, keep_node(keys, args[2], now, tonumber(args[9])) }
end

local function all_gave(keys)
  for _, packed in ipairs(redis.call('HVALS', keys[ANSWERS])) do
    if select(5, parse(ANSWER, packed)) == 0 then
      return false
    end
  end
  return true
end

local function next_epoch(fence)
  return math.max(tonumber(fence.base), tonumber(fence.building or 0)) + 1
end

-- One at a time restores; who does not come for its turn in two leases has none.
local function take_turn(keys, state, fence, args, now, lease_ms)
  local node = args[2]
  if fence.source then
    return { 'build' }
  end
  -- Who answers late may know of a later epoch.
  local _, base = compare(keys, state)
  fence.base = math.max(base, tonumber(fence.base))
  set(keys, 'base', fence.base)
  local busy = fence.turn and tonumber(fence.turn_until) > now
  local gave = select(5, parse(ANSWER, redis.call('HGET', keys[ANSWERS], node)))
  if all_gave(keys) or (not busy and now > tonumber(fence.restoring) + 2 * lease_ms) then
    return { 'build' }
  end
  if gave == 1 or args[8] ~= '1' or (busy and fence.turn ~= node) then
    return { 'wait' }
  end
  local lease = redis.call('HINCRBY', keys[STATE], 'turns', 1)
  set(keys, 'turn', node, 'turn_lease', lease, 'turn_until', now + lease_ms)
  return { 'turn', next_epoch(fence), state.epoch, state.n, lease }
end

-- Whether a node has followed another run in this epoch, and did not answer the fence of this one: it slept, and the log
-- forgot it. What it has seen last may have been given to something else, and nobody can tell by a number.
local function strayed(keys, state, args)
  return moved(state, args[11])
    and tonumber(args[3]) == state.epoch
    and tonumber(args[4]) > 0
    and redis.call('HEXISTS', keys[NODES], args[2]) == 0
end

-- Arguments: run, node, epoch and n seen, epoch and n of W, its lease as it knows it, whether it can restore, lease_ms,
-- ahead, the run in which it was listed last, whether it knows what is stored.
-- Answers: {'open', epoch, n, lease until} | {'wait'} | {'turn', new epoch, epoch, n, lease} | {'build'}: call build until it is open.
local function rejoin(keys, args)
  local state, run = state_of(keys), args[1]
  local lease_ms, now = tonumber(args[9]), now_ms(args[10])
  if not closed(state, run) then
    if not lost(state, tonumber(args[3]), tonumber(args[4])) and not strayed(keys, state, args) then
      return { 'open', state.epoch, state.n, keep_node(keys, args[2], now, lease_ms) }
    end
    -- The log went on without something that this node has seen.
    set(keys, 'run', '', 'unheard', '1')
    redis.call('HDEL', keys[STATE], 'fence')
    state.run = ''
  end
  if redis.call('HGET', keys[STATE], 'fence') ~= run then
    close(keys, state, run, now)
  end
  local fence = fence_of(keys)
  answer(keys, fence, args, now)
  if fence.restoring then
    return take_turn(keys, state, fence, args, now, lease_ms)
  end
  if not all_answered(keys, fence, now, lease_ms) then
    return { 'wait' }
  end
  local holds, base = compare(keys, state)
  if base == 0 then
    -- Nobody here has seen anything. Whether there was something only the store tells.
    return fence.store and first_epoch(keys, args, now) or { 'wait' }
  end
  if holds and not fence.unheard and state.epoch > 0 then
    open(keys, run)
    return { 'open', state.epoch, state.n, keep_node(keys, args[2], now, lease_ms) }
  end
  set(keys, 'restoring', now, 'base', base)
  fence.restoring, fence.base = now, base
  return take_turn(keys, state, fence, args, now, lease_ms)
end

-- Arguments: run, lease, ahead, lease_ms, whether it is the last, entries. Answers: {'ok'}, after
-- the last also whether all have given and the new epoch can be built | {'refused'}.
local function restore(keys, args)
  local state, fence, now = state_of(keys), fence_of(keys), now_ms(args[3])
  local mine = fence.fence == args[1] and fence.turn and fence.turn_lease == args[2]
  if not mine or not closed(state, args[1]) then
    return { 'refused' }
  end
  local base = tonumber(fence.base)
  for i = 6, #args do
    local _, epoch, n = parse(ENTRY, args[i])
    if lost(state, epoch, n) and (epoch == base or epoch == state.epoch) then
      -- Big-endian, so that the order of the bytes is the order of the places.
      local place = pack('>I4I8', epoch, n)
      redis.call('HSETNX', keys[GIVEN], place, args[i])
      redis.call('ZADD', keys[ORDER], 0, place)
    end
  end
  if args[5] ~= '1' then
    set(keys, 'turn_until', now + tonumber(args[4]))
    return { 'ok' }
  end
  local epoch, n, w_epoch, w = parse(ANSWER, redis.call('HGET', keys[ANSWERS], fence.turn))
  redis.call('HSET', keys[ANSWERS], fence.turn, pack(ANSWER, epoch, n, w_epoch, w, 1))
  redis.call('HDEL', keys[STATE], 'turn', 'turn_lease', 'turn_until')
  return { 'ok', all_gave(keys) and 1 or 0 }
end

-- A producer's publish that is in the log again: known, or the next one, or behind a loss.
local function replay_producer(keys, state, epoch, run)
  local young = young_of(keys, state)
  local packed = redis.call('HGET', young, run.key)
    or redis.call('HGET', old_of(keys, state), run.key)
  local producer = producer_of(packed) or { tag = epoch, last = 0, total = 0, segments = '' }
  producer = join(older_of(keys, state, run.key, producer), producer, epoch)
  in_epoch(producer, epoch)
  local hash = function(i)
    return sub(run.hashes, 8 * i + 1, 8 * i + 8)
  end
  if run.no > producer.last + 1 then
    producer.total, producer.segments, producer.last = 0, '', run.no - 1
  end
  local parts = {}
  each_segment(producer, function(first, count, seq, n, ts, at)
    for i = 0, count - 1 do
      local no = first + i
      local j = no - run.no
      if j >= 0 and j < run.count then
        parts[#parts + 1] = pack(SEGMENT, 1, run.seq + j, run.n, run.ts) .. hash(j)
      else
        local old = sub(producer.segments, at + 8 * i, at + 8 * i + 7)
        parts[#parts + 1] = pack(SEGMENT, 1, seq + i, n, ts) .. old
      end
    end
  end)
  producer.segments = table.concat(parts)
  local known = producer.last - run.no + 1
  if known < run.count then
    local hashes, count = sub(run.hashes, 8 * known + 1), run.count - known
    remember(producer, run.no + known, count, run.seq + known, run.n, run.ts, hashes)
  end
  redis.call('HSET', young, run.key, pack_producer(producer, epoch))
end

-- Writes one entry of before as the next of the new epoch. Heads keep their tag: the new epoch has not numbered them.
local function write_again(keys, state, fence, entry)
  local epoch, n = tonumber(fence.building), tonumber(fence.built_n) + 1
  local _, _, _, ts, _, runs = parse(ENTRY, entry)
  local bytes = tonumber(fence.built_bytes) + #entry
  fence.built_n, fence.built_bytes, state.ts = n, bytes, math.max(state.ts, ts)
  local parts = { pack(ENTRY, ENTRY_VERSION, epoch, n, ts, bytes, runs) }
  local at = ENTRY_BYTES + 1
  for _ = 1, runs do
    local before, seq, ordinal = parse(PLACE, entry, at)
    local begins = at + PLACE_BYTES
    local key = sub(entry, at + PLACE_BYTES, at + PLACE_BYTES + RUN_KEY - 1)
    local no, mver, kind, count = parse(RUN_REST, entry, at + PLACE_BYTES + RUN_KEY)
    local hashes = at + PLACE_BYTES + RUN_HASHES - 1
    replay_producer(keys, state, epoch, {
      key = key, no = no, count = count, seq = seq, n = n, ts = ts,
      hashes = sub(entry, hashes, hashes + 8 * count - 1),
    })
    local conversation = sub(key, 1, 16)
    local head = head_of(redis.call('HGET', keys[HEADS], conversation))
    if head and head.seq < seq then
      -- What a node gives back does not say what was left out before it: what the log has says it.
      before = head.seq
    end
    if not head or head.seq < seq + count - 1 then
      local changes = (kind == CREATED or kind == MEMBER) and is_group(key)
      head = {
        seq = seq + count - 1, ordinal = ordinal + (kind == MESSAGE and count or 0),
        mver = changes and seq or mver, tag = head and head.tag or 0,
      }
      redis.call('HSET', keys[HEADS], conversation, pack_head(head))
    end
    at = hashes + 8 * count
    local bodies = 0
    for _ = 1, count do
      bodies = bodies + parse('<I4', entry, at)
      at = at + 4
    end
    at = at + bodies
    parts[#parts + 1] = pack(PLACE, before, seq, ordinal)
    parts[#parts + 1] = sub(entry, begins, at - 1)
  end
  redis.call('XADD', keys[LOG], id_of(epoch, n), 'b', table.concat(parts))
  return #entry
end

-- The next entry to write again: the log's own above W, then what was given, in order.
local function next_entry(keys, state, fence)
  if fence.source == 'log' then
    local n = tonumber(fence.built) + 1
    fence.built = text(n)
    if n <= tonumber(fence.upto) then
      local id = id_of(state.epoch, n)
      local item = redis.call('XRANGE', keys[LOG], id, id)[1]
      return item and item[2][2] or next_entry(keys, state, fence)
    end
    fence.source = 'given'
  end
  local place = redis.call('ZPOPMIN', keys[ORDER])[1]
  if not place then
    return nil
  end
  local entry = redis.call('HGET', keys[GIVEN], place)
  redis.call('HDEL', keys[GIVEN], place)
  return entry
end

local function begin_building(keys, state, fence)
  -- An append that was torn may have left an entry behind the end: its publishes count as stored, so it goes along.
  local highest = id_of(state.epoch, 2 ^ 53)
  local last = redis.call('XREVRANGE', keys[LOG], highest, id_of(state.epoch, 0), 'COUNT', 1)[1]
  local upto = last and tonumber(string.match(last[1], '%d+$')) or 0
  fence.building, fence.source = text(next_epoch(fence)), 'log'
  fence.built, fence.upto = text(math.max(state.w, state.first)), text(math.max(upto, state.n))
  fence.built_n, fence.built_bytes = 0, 0
end

-- Arguments: run. Answers: {'more'} | {'open', epoch, n} | {'refused'}.
local function build(keys, args)
  local state, fence = state_of(keys), fence_of(keys)
  if not closed(state, args[1]) then
    return { 'open', state.epoch, state.n }
  end
  if fence.fence ~= args[1] or not fence.restoring then
    return { 'refused' }
  end
  if not fence.source then
    begin_building(keys, state, fence)
  end
  local entries, bytes = 0, 0
  while entries < STEP_ENTRIES and bytes < STEP_BYTES do
    local entry = next_entry(keys, state, fence)
    if not entry then
      break
    end
    entries, bytes = entries + 1, bytes + write_again(keys, state, fence, entry)
  end
  set(keys, 'building', fence.building, 'source', fence.source, 'built', fence.built)
  set(keys, 'upto', fence.upto, 'built_n', tonumber(fence.built_n), 'ts', state.ts)
  set(keys, 'built_bytes', tonumber(fence.built_bytes))
  if entries >= STEP_ENTRIES or bytes >= STEP_BYTES then
    return { 'more' }
  end
  local epoch, n = tonumber(fence.building), tonumber(fence.built_n)
  redis.call('XTRIM', keys[LOG], 'MINID', '=', id_of(epoch, 1))
  local common_epoch, common = common_of(keys, state, tonumber(fence.base))
  if common > 0 then
    -- Of an epoch that stored nothing everything was carried over, and what it had in common stays so.
    set(keys, 'ce', common_epoch, 'cn', common)
  end
  local now = tonumber(redis.call('TIME')[1]) * 1000
  set(keys, 'epoch', epoch, 'n', n, 'first', 0, 'w', 0, 'bytes', tonumber(fence.built_bytes))
  -- Leases are never given twice, not even by a log that forgot which it gave.
  set(keys, 'gen_n', n, 'ask', 1, 'lease', math.max(state.lease, epoch * 2 ^ 20))
  if state.rotated == 0 then
    set(keys, 'rotated', now)
  end
  open(keys, args[1])
  return { 'open', epoch, n }
end

-- A node has seen other bytes under a place than the log has: nobody goes on in this epoch. Arguments: run.
local function fence(keys, args)
  if closed(state_of(keys), args[1]) then
    return { 'closed' }
  end
  redis.call('HDEL', keys[STATE], 'fence')
  set(keys, 'run', '', 'unheard', '1')
  return { 'ok' }
end

redis.register_function { function_name = NAME .. 'probe', callback = probe, flags = ROOM }
redis.register_function { function_name = NAME .. 'rejoin', callback = rejoin, flags = ROOM }
redis.register_function { function_name = NAME .. 'restore', callback = restore, flags = ROOM }
redis.register_function { function_name = NAME .. 'build', callback = build, flags = ROOM }
redis.register_function { function_name = NAME .. 'fence', callback = fence, flags = ROOM }
