-- The functions of live state. The first lines (name of the library, numbers that Rust has, too) are written in front of
-- this by library.rs. The first key of whoever publishes counts what was published; its name is the channel's, too.
--
-- `nodes`: a hash of nodes and when each last said a word, by the server's clock; `last` is the latest of them, and `since`
-- the time from which they came without a gap. A server that stood still, or was alone, hears nobody: that is nobody's death.
-- Whoever asks says as the last argument after how much silence a node is dead; half of that is a gap.
-- `list` (one of each node): a hash of users and their as_of, and `v`, the version. Nodes, users and as_of are 8 bytes each.

local LAST, SINCE, VERSION = 'last', 'since', 'v'
-- Fields in one command, far below what fits on Lua's stack.
local STEP = 1000

local function text(number)
  return string.format('%.0f', number)
end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- What everybody hears: its number, then the signals. A subscriber that misses a number has missed something. Nothing to
-- say is number 0.
local function send(channel, payload)
  if payload == '' then
    return 0
  end
  local n = redis.call('INCR', channel)
  redis.call('PUBLISH', channel, struct.pack('<I8', n) .. payload)
  return n
end

local function since_of(nodes, now, silent_ms)
  local values = redis.call('HMGET', nodes, LAST, SINCE)
  local last, since = tonumber(values[1] or 0), tonumber(values[2] or 0)
  if last > now or now - last > silent_ms / 2 then
    return now
  end
  return since
end

-- A node said a word.
local function touch(nodes, node, now, args)
  local since = since_of(nodes, now, tonumber(args[#args]))
  redis.call('HSET', nodes, node, text(now), LAST, text(now), SINCE, text(since))
  return since
end

-- Ids of nodes that have been silent for too long, or of those that have not. Many nodes are a few dozen.
local function nodes_that(nodes, are_silent, now, since, silent_ms)
  local all, found = redis.call('HGETALL', nodes), {}
  for i = 1, #all, 2 do
    if #all[i] == 8 then
      local silent = now - since > silent_ms and now - tonumber(all[i + 1]) > silent_ms
      if silent == are_silent then
        found[#found + 1] = all[i]
      end
    end
  end
  return found
end

local function in_steps(command, key, values)
  for first = 1, #values, STEP do
    redis.call(command, key, unpack(values, first, math.min(first + STEP - 1, #values)))
  end
end

local function apply(list, changes)
  local came, went = {}, {}
  for at = 1, #changes, 17 do
    local user = string.sub(changes, at, at + 7)
    if string.byte(changes, at + 8) == 1 then
      came[#came + 1] = user
      came[#came + 1] = string.sub(changes, at + 9, at + 16)
    else
      went[#went + 1] = user
    end
  end
  in_steps('HSET', list, came)
  in_steps('HDEL', list, went)
end

local function version_of(list)
  return tonumber(redis.call('HGET', list, VERSION) or 0)
end

-- Keys: channel. Arguments: signals. Answer: their number.
local function publish(keys, args)
  return send(keys[1], args[1])
end

-- Keys: channel, nodes, list. Arguments: node, signals. Answers: number, version of the list, nodes that are silent.
local function beat(keys, args)
  local now = now_ms()
  local since = touch(keys[2], args[1], now, args)
  local silent = nodes_that(keys[2], true, now, since, tonumber(args[#args]))
  return { send(keys[1], args[2]), version_of(keys[3]), silent }
end

-- Keys: channel, nodes, list. Arguments: node, version that the list has, changes, signals. Answers: number or 0 (the list
-- has another version: nothing was done), that version.
local function announce(keys, args)
  local version = version_of(keys[3])
  if version ~= tonumber(args[2]) then
    return { 0, version }
  end
  touch(keys[2], args[1], now_ms(), args)
  apply(keys[3], args[3])
  redis.call('HSET', keys[3], VERSION, text(version + 1))
  return { send(keys[1], args[4]), version + 1 }
end

-- Before a list is written again. Keys: channel, nodes, list, new list. Arguments: node.
local function prepare(keys, args)
  touch(keys[2], args[1], now_ms(), args)
  redis.call('UNLINK', keys[4])
  return 1
end

-- Keys: channel, nodes, list, new list. Arguments: node, changes.
local function fill(keys, args)
  apply(keys[4], args[2])
  return 1
end

-- The new list takes the place of the old one. Keys: channel, nodes, list, new list. Arguments: node, version (above that of
-- the old one), users that the new one should have, signals. Answers: number or 0 (nothing was done), version of the old one.
local function commit(keys, args)
  local version = version_of(keys[3])
  if version >= tonumber(args[2]) or redis.call('HLEN', keys[4]) ~= tonumber(args[3]) then
    return { 0, version }
  end
  touch(keys[2], args[1], now_ms(), args)
  redis.call('HSET', keys[4], VERSION, args[2])
  -- Before RENAME, which would free the old one within this call.
  redis.call('UNLINK', keys[3])
  redis.call('RENAME', keys[4], keys[3])
  return { send(keys[1], args[4]), version }
end

-- Keys: nodes. Answer: those that live.
local function living(keys, args)
  local now, silent_ms = now_ms(), tonumber(args[#args])
  return nodes_that(keys[1], false, now, since_of(keys[1], now, silent_ms), silent_ms)
end

local function remove(keys, args)
  redis.call('HDEL', keys[2], args[1])
  redis.call('UNLINK', keys[3], keys[4])
  return send(keys[1], args[2])
end

-- A node ends. Keys: channel, nodes, list, new list. Arguments: node, signals. Answer: number.
local function leave(keys, args)
  return remove(keys, args)
end

-- The same for a node that was seen to be silent, if it still is. Answer: number or 0.
local function bury(keys, args)
  local now, silent_ms = now_ms(), tonumber(args[#args])
  local since = since_of(keys[2], now, silent_ms)
  local last = tonumber(redis.call('HGET', keys[2], args[1]) or now)
  if now - since > silent_ms and now - last > silent_ms then
    return remove(keys, args)
  end
  return 0
end

-- Keys: channel, key of the login. Arguments: milliseconds, signals. Answer: number.
local function revoke_session(keys, args)
  local left = redis.call('PTTL', keys[2])
  redis.call('SET', keys[2], '1', 'PX', text(math.max(left, tonumber(args[1]), 1)))
  return send(keys[1], args[2])
end

-- Keys: channel, key of the user. Arguments: milliseconds, signals, before (tokens of then and earlier are void), the login
-- that stays. Neither the time nor what is void gets less. Answer: number.
local function revoke_user(keys, args)
  local left, before = redis.call('PTTL', keys[2]), args[3]
  local old = redis.call('GET', keys[2])
  if old and #old >= 8 and struct.unpack('<I8', old) > struct.unpack('<I8', before) then
    before = string.sub(old, 1, 8)
  end
  redis.call('SET', keys[2], before .. args[4], 'PX', text(math.max(left, tonumber(args[1]), 1)))
  return send(keys[1], args[2])
end

-- Whether a view with these positions is older nowhere and newer somewhere. VIEW_HEAD bytes, then epoch and n of each.
local function is_newer(old, new)
  if #old < #new then
    return false
  end
  local newer = false
  for at = 1, #new, 12 do
    local old_epoch, old_n = struct.unpack('<I4I8', old, at)
    local epoch, n = struct.unpack('<I4I8', new, at)
    if old_epoch < epoch or (old_epoch == epoch and old_n < n) then
      return false
    end
    newer = newer or old_epoch > epoch or old_n > n
  end
  return newer
end

-- Keys: view. Arguments: head (version, partitions), positions, the rest, milliseconds. Answer: whether it was put.
local function view_put(keys, args)
  local head, positions = args[1], args[2]
  local old = redis.call('GETRANGE', keys[1], 0, #head + #positions - 1)
  if string.sub(old, 1, #head) == head and is_newer(string.sub(old, #head + 1), positions) then
    return 0
  end
  redis.call('SET', keys[1], head .. positions .. args[3], 'PX', args[4])
  return 1
end

-- Keys: channel, then one for each conversation. Arguments: head of the signals, kind of a receipt's, milliseconds; then for
-- each conversation its id, and its receipts (user, delivered, read). Answer: number or 0 (nothing moved).
local function receipts(keys, args)
  local moved = {}
  for i = 2, #keys do
    local key, conversation, packed = keys[i], args[2 * i], args[2 * i + 1]
    for at = 1, #packed, 24 do
      local user = string.sub(packed, at, at + 7)
      local delivered, read = struct.unpack('<I8I8', packed, at + 8)
      local old = redis.call('HGET', key, user)
      local old_delivered, old_read = 0, 0
      if old then
        old_delivered, old_read = struct.unpack('<I8I8', old)
      end
      if delivered > old_delivered or read > old_read then
        local new = struct.pack('<I8I8', math.max(delivered, old_delivered), math.max(read, old_read))
        redis.call('HSET', key, user, new)
        moved[#moved + 1] = args[2] .. conversation .. user .. new
      end
    end
    redis.call('PEXPIRE', key, args[3])
  end
  if #moved == 0 then
    return 0
  end
  return send(keys[1], args[1] .. struct.pack('<I4', #moved) .. table.concat(moved))
end

local function register(name, callback, flag)
  redis.register_function({ function_name = NAME .. name, callback = callback, flags = { flag } })
end

-- What must go on when the memory is full: it is small, or makes room.
register('publish', publish, 'allow-oom')
register('beat', beat, 'allow-oom')
register('leave', leave, 'allow-oom')
register('bury', bury, 'allow-oom')
register('revoke_session', revoke_session, 'allow-oom')
register('revoke_user', revoke_user, 'allow-oom')

-- What waits until there is room.
register('announce', announce)
register('prepare', prepare)
register('fill', fill)
register('commit', commit)
register('view_put', view_put)
register('receipts', receipts)

register('living', living, 'no-writes')
register('status', function() return 1 end, 'no-writes')
