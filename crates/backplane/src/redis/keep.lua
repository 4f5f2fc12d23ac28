-- What followers, the persister and status pages ask for: reads, W, trim, leases of the persister, known producers.

local function closed(state, run)
  return not state.run or state.run ~= run
end

-- Arguments: none. Answers: run, epoch, n, first, w, epoch and n of what the epoch has in common with the one before,
-- checksum of these files.
local function status(keys)
  local state = state_of(keys)
  return { state.run or '', state.epoch, state.n, state.first, state.w, state.ce, state.cn, CHECKSUM }
end

-- Arguments: run, epoch, n, bytes. Answers: {'closed'}, or {'open', epoch, n, first, ce, cn, entries}: those after the
-- place (of an earlier epoch: after nothing; of a later one: none), at least one if there is one.
local function read(keys, args)
  local state = state_of(keys)
  if closed(state, args[1]) then
    return { 'closed' }
  end
  local after, bytes_max = tonumber(args[3]), tonumber(args[4])
  if tonumber(args[2]) < state.epoch then
    after = 0
  elseif tonumber(args[2]) > state.epoch then
    after = state.n
  end
  local entries, bytes = {}, 0
  if after >= state.first and after < state.n then
    local next_n, last = after + 1, id_of(state.epoch, state.n)
    repeat
      local page = redis.call('XRANGE', keys[LOG], id_of(state.epoch, next_n), last, 'COUNT', 8)
      for _, item in ipairs(page) do
        if bytes < bytes_max then
          entries[#entries + 1] = item[2][2]
          bytes = bytes + #item[2][2]
        end
      end
      next_n = next_n + #page
    until #page == 0 or bytes >= bytes_max or next_n > state.n
  end
  return { 'open', state.epoch, state.n, state.first, state.ce, state.cn, entries }
end

-- A persister's lease; every earlier one is void from now on. Arguments: run.
local function lease(keys, args)
  if closed(state_of(keys), args[1]) then
    return { 'closed' }
  end
  return { 'ok', redis.call('HINCRBY', keys[STATE], 'lease', 1) }
end

-- Arguments: run, lease, epoch, n.
local function advance(keys, args)
  local state, n = state_of(keys), tonumber(args[4])
  if closed(state, args[1]) then
    return { 'closed' }
  end
  if tonumber(args[2]) ~= state.lease then
    return { 'refused' }
  end
  if tonumber(args[3]) ~= state.epoch or n > state.n then
    return { 'above' }
  end
  if n > state.w then
    set(keys, 'w', n)
  end
  return { 'ok' }
end

-- ts, and bytes of the epoch up to it, of one entry.
local function mark(keys, state, n)
  local id = id_of(state.epoch, n)
  local item = redis.call('XRANGE', keys[LOG], id, id)[1]
  if not item then
    return 0, 0
  end
  local _, _, _, ts, bytes = parse(ENTRY, item[2][2])
  return ts, bytes
end

-- The highest place at or below W that is old enough, or has enough bytes between it and W. Both grow with n.
local function floor_of(keys, state, ahead, retention_ms, retention_bytes)
  local low, high = state.first, state.w
  if low >= high then
    return low
  end
  local old_before = now_ms(ahead) - tonumber(retention_ms)
  local _, bytes = mark(keys, state, high)
  local enough = bytes - tonumber(retention_bytes)
  while low < high do
    local middle = math.floor((low + high + 1) / 2)
    local ts, upto = mark(keys, state, middle)
    if ts < old_before or upto < enough then
      low = middle
    else
      high = middle - 1
    end
  end
  return low
end

-- Arguments: ahead, retention in ms and bytes. Answers: epoch, n.
local function trimmable(keys, args)
  local state = state_of(keys)
  return { state.epoch, floor_of(keys, state, args[1], args[2], args[3]) }
end

-- Arguments: run, epoch, n, ahead, retention in ms and bytes.
local function trim(keys, args)
  local state, n = state_of(keys), tonumber(args[3])
  if closed(state, args[1]) then
    return { 'closed' }
  end
  if tonumber(args[2]) > state.epoch
    or (tonumber(args[2]) == state.epoch and n > floor_of(keys, state, args[4], args[5], args[6]))
  then
    return { 'above' }
  end
  if tonumber(args[2]) == state.epoch and n > state.first then
    redis.call('XTRIM', keys[LOG], 'MINID', '=', id_of(state.epoch, n + 1))
    set(keys, 'first', n)
  end
  return { 'ok' }
end

-- What the archive knows of a producer, if nothing is known here. Arguments: run, key, then the record: last no, and the
-- latest publishes, consecutive and up to it, as segments of one, and the epoch of their places.
local function install(keys, args)
  local state, key = state_of(keys), args[2]
  if closed(state, args[1]) then
    return { 'closed' }
  end
  local young = young_of(keys, state)
  local known = redis.call('HEXISTS', young, key) + redis.call('HEXISTS', old_of(keys, state), key)
  if known == 0 then
    local total = #args[4] / (SEGMENT_BYTES + 8)
    local producer = { last = tonumber(args[3]), total = total, segments = args[4] }
    redis.call('HSET', young, key, pack_producer(producer, tonumber(args[5])))
  end
  return { 'ok' }
end

-- `allow-oom`: these make room, or are what somebody who makes room has to do first.
local READS, ROOM = { 'no-writes' }, { 'allow-oom' }
redis.register_function { function_name = NAME .. 'status', callback = status, flags = READS }
redis.register_function { function_name = NAME .. 'read', callback = read, flags = READS }
redis.register_function { function_name = NAME .. 'trimmable', callback = trimmable, flags = READS }
redis.register_function { function_name = NAME .. 'lease', callback = lease, flags = ROOM }
redis.register_function { function_name = NAME .. 'advance', callback = advance, flags = ROOM }
redis.register_function { function_name = NAME .. 'trim', callback = trim, flags = ROOM }
redis.register_function { function_name = NAME .. 'install', callback = install }
