"""What happens inside Redis, each script whole or not at all. All keys of a spool share a hash tag, so one slot.

Keys of a destination: ``stream`` (entries of up to 256 records, read by the consumer group ``w``), ``bell`` (a stream
of one entry: the newest of ``stream``), ``ledger`` (hash of counts), ``state`` (hash: what happened to single records
of an entry that is held), ``wait`` and ``holders`` (records with an order key: one per key is in the stream, the others
wait, by key and age), ``stops`` and ``stopped`` (what whoever holds an entry is asked to end, and the answers). Entries
have the fields ``d`` data, ``s`` name of the key that sealed it, ``n`` records, ``b`` bytes of bodies, ``k`` order key
of the one record, ``u`` the name that its maker gave it, ``f`` state it begins with.

Keys of a spool: ``names`` (set of destinations), ``workers`` (sorted set: who was heard of, when), ``letters`` and
``letter-data`` (dead letters), ``rate:*`` (buckets), ``news`` (throttling), ``append:*`` and ``saved:*`` (the number
of a process's last change, and what came of it: whoever asks again because the answer was lost gets the same answer).
Times are Redis's own.
"""

from __future__ import annotations

from typing import Final

#: Redis refuses a script at its first write that needs memory when memory is short, and none that has written. Those
#: that make room, or lead to it, must not be refused: otherwise a full queue would never be emptied.
_ALLOW_OOM: Final = "redis.call('DEL', KEYS[1] .. ':none')\n"

_ENTER: Final = """
local function enter(stream, bell, fields)
  local id = redis.call('XADD', stream, '*', unpack(fields))
  redis.call('XADD', bell, 'MAXLEN', 1, '*', 'i', id)
  return id
end
local function enter_keyed(stream, bell, wait, holders, key, data)
  if redis.call('HSETNX', holders, key, 1) == 1 then
    return enter(stream, bell, cmsgpack.unpack(data))
  end
  local number = redis.call('HINCRBY', holders, '', 1)
  redis.call('ZADD', wait, 0, key .. string.format('%016x', number) .. data)
  return false
end
local function promote(stream, bell, wait, holders, key)
  while true do
    local found = redis.call('ZRANGEBYLEX', wait, '[' .. key, '[' .. key .. '\\255', 'LIMIT', 0, 1)
    if not found[1] then
      redis.call('HDEL', holders, key)
      return 0
    end
    redis.call('ZREM', wait, found[1])
    -- one that is damaged must not fail what has been written by now, nor those behind it
    local whole, fields = pcall(cmsgpack.unpack, string.sub(found[1], 33))
    if whole and type(fields) == 'table' and #fields > 1 then
      enter(stream, bell, fields)
      return 1
    end
  end
end
local function count(ledger, changes)
  for kind, number in pairs(changes) do redis.call('HINCRBY', ledger, kind, number) end
end
local function counts(ledger)
  redis.call('HINCRBY', ledger, '#', 1)
  return redis.call('HGETALL', ledger)
end
local function mine(stream, id, me, epoch)
  local held = redis.call('XPENDING', stream, 'w', id, id, 1)[1]
  return held and held[2] == me and (epoch == 0 or held[4] == epoch)
end
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
"""

#: KEYS: stream of each destination. Makes the consumer groups that are not there.
GROUP: Final = (
    _ALLOW_OOM
    + """
for at = 1, #KEYS do
  local made = redis.pcall('XGROUP', 'CREATE', KEYS[at], 'w', '0', 'MKSTREAM')
  if made['err'] and not string.find(made['err'], 'BUSYGROUP') then return made end
end
return 1
"""
)

#: KEYS: seq, names, and of each destination stream, bell, ledger, wait, holders. ARGV: number of this append, and
#: [[name, counts, [order key or what stands beside the data, ...]], ...]; then, in order, the data of each entry, or
#: all its fields, packed, if it has an order key. An append that comes again changes nothing and is answered as the
#: first time; one that is overtaken by a later one of its process, because it got stuck on its way, changes nothing.
APPEND: Final = (
    _ENTER
    + """
local last = tonumber(redis.call('GET', KEYS[1]) or 0)
local again = last >= tonumber(ARGV[1])
local kept = {}
if again then
  local packed = last == tonumber(ARGV[1]) and redis.call('GET', KEYS[1] .. ':ids')
  if packed then kept = cmsgpack.unpack(packed) end
else
  redis.call('SET', KEYS[1], ARGV[1], 'EX', 3600)
end
local out, at = {}, 2
for index, one in ipairs(cmsgpack.unpack(ARGV[2])) do
  local base = 2 + (index - 1) * 5
  local stream, bell, ledger = KEYS[base + 1], KEYS[base + 2], KEYS[base + 3]
  local ids = kept[index] or {}
  for number, key in ipairs(one[3]) do
    at = at + 1
    if again then
      ids[number] = ids[number] or ''
    elseif type(key) == 'table' then
      -- the data is large: the fewer hands it goes through, the better
      ids[number] = redis.call('XADD', stream, '*', 'd', ARGV[at], unpack(key))
      redis.call('XADD', bell, 'MAXLEN', 1, '*', 'i', ids[number])
    else
      ids[number] = enter_keyed(stream, bell, KEYS[base + 4], KEYS[base + 5], key, ARGV[at]) or ''
    end
  end
  kept[index] = ids
  if not again then
    redis.call('SADD', KEYS[2], one[1])
    count(ledger, one[2])
  end
  out[index] = {ids, counts(ledger)}
end
if not again then redis.call('SET', KEYS[1] .. ':ids', cmsgpack.pack(kept), 'EX', 3600) end
return out
"""
)

#: KEYS: stream, bell, ledger, state, wait, holders, letters, letter-data, saved. ARGV: consumer, number of this change,
#: and a packed change for each entry: [id, epoch, version, left, state, counts, order key, letters, fields of what
#: replaces it]. One that comes again changes nothing and is answered as the first time.
SAVE: Final = (
    _ENTER
    + _ALLOW_OOM
    + """
local lost, freed, moved = {}, 0, {}
local stream, bell, ledger, state = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local before = redis.call('GET', KEYS[9])
if before then
  local known = cmsgpack.unpack(before)
  if tonumber(known[1]) >= tonumber(ARGV[2]) then return {known[2], known[3], counts(ledger), known[4]} end
end
for at = 3, #ARGV do
  local c = cmsgpack.unpack(ARGV[at])
  local id = c[1]
  if not mine(stream, id, ARGV[1], c[2]) then
    lost[#lost + 1] = id
  else
    local written = redis.call('HGET', state, 'v' .. id)
    if (tonumber(written or 0) or 0) < c[3] then
      if c[4] == 0 then
        redis.call('XACK', stream, 'w', id)
        redis.call('XDEL', stream, id)
        redis.call('HDEL', state, id, 'v' .. id, 't' .. id)
        if #c[9] > 0 then
          moved[#moved + 1] = id
          moved[#moved + 1] = enter(stream, bell, c[9])
        end
        if c[7] ~= '' then freed = freed + promote(stream, bell, KEYS[5], KEYS[6], c[7]) end
      else
        redis.call('HSET', state, 'v' .. id, c[3])
        redis.call('HSET', state, id, c[5])
        -- what an earlier release noted of the whole entry is in the state of its records by now
        redis.call('HDEL', state, 't' .. id)
      end
      count(ledger, c[6])
      for _, letter in ipairs(c[8]) do
        local number = redis.call('HINCRBY', KEYS[8], '', 1)
        redis.call('ZADD', KEYS[7], number, string.format('%016x', number) .. letter[1])
        redis.call('HSET', KEYS[8], number, letter[2])
      end
    end
  end
end
redis.call('SET', KEYS[9], cmsgpack.pack({ARGV[2], lost, freed, moved}), 'EX', 3600)
return {lost, freed, counts(ledger), moved}
"""
)

#: KEYS: stream, bell. ARGV: consumer, a name that nobody has, ids. Whoever is next takes them up at once.
GIVE_BACK: Final = (
    _ENTER
    + _ALLOW_OOM
    + """
local given = 0
for at = 3, #ARGV do
  if mine(KEYS[1], ARGV[at], ARGV[1], 0) then
    redis.call('XCLAIM', KEYS[1], 'w', ARGV[2], 0, ARGV[at], 'JUSTID')
    given = given + 1
  end
end
if given > 0 then redis.call('XADD', KEYS[2], 'MAXLEN', 1, '*', 'o', given) end
return given
"""
)

#: KEYS: stream, bell. ARGV: a name, a name that nobody has, entries at most. What is held under the one is held under
#: the other from now on; whether there may be more.
RENAME: Final = (
    _ENTER
    + _ALLOW_OOM
    + """
local held = redis.call('XPENDING', KEYS[1], 'w', '-', '+', tonumber(ARGV[3]), ARGV[1])
for _, one in ipairs(held) do redis.call('XCLAIM', KEYS[1], 'w', ARGV[2], 0, one[1], 'JUSTID') end
if #held > 0 then redis.call('XADD', KEYS[2], 'MAXLEN', 1, '*', 'o', #held) end
if #held == tonumber(ARGV[3]) then return 1 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'w', ARGV[1])
return 0
"""
)

#: KEYS: stream. ARGV: consumer, id to begin with, ids at most. Ids of the entries that it has.
LIST: Final = """
local out = {}
for _, one in ipairs(redis.call('XPENDING', KEYS[1], 'w', ARGV[2], '+', tonumber(ARGV[3]), ARGV[1])) do
  out[#out + 1] = one[1]
end
return out
"""

#: KEYS: stream, state. ARGV: consumer, ids. Of these the entries that the caller has by now: as of :data:`ADOPT`, under
#: the epoch that they have.
RETAKE: Final = """
local out = {}
for at = 2, #ARGV do
  local id = ARGV[at]
  local held = redis.call('XPENDING', KEYS[1], 'w', id, id, 1)[1]
  if held and held[2] == ARGV[1] then
    local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
    if entry then
      local state = redis.call('HMGET', KEYS[2], id, 'v' .. id, 't' .. id)
      out[#out + 1] = {id, entry[2], held[4], state[1], state[2], state[3]}
    else
      redis.call('XACK', KEYS[1], 'w', id)
    end
  end
end
return out
"""

#: Who of a group is dead: whoever was never heard of, or not for too long.
_DEAD: Final = """
local function dead(stream, workers, me, lease_ms, now)
  local found = {}
  for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', stream, 'w')) do
    local c = {}
    for at = 1, #fields, 2 do c[fields[at]] = fields[at + 1] end
    if c['name'] ~= me then
      local seen = redis.call('ZSCORE', workers, c['name'])
      if not seen or now - tonumber(seen) > lease_ms then
        found[#found + 1] = {c['name'], c['pending']}
      end
    end
  end
  return found
end
"""

#: KEYS: stream, workers, state. ARGV: consumer, lease in ms, entries at most, a name to be left alone, which means
#: those of others who live and look through entries, too. Entries of the dead become the caller's, under a new epoch:
#: [id, fields, epoch, state, version, tried].
ADOPT: Final = (
    _ENTER
    + _DEAD
    + """
local out, room = {}, tonumber(ARGV[3])
local now, lease = now_ms(), tonumber(ARGV[2])
local function left_alone(name)
  if ARGV[4] == '' then return false end
  if name == ARGV[4] then return true end
  local whose = string.match(name, '^looked%-(.+)%-%d+$')
  local seen = whose and redis.call('ZSCORE', KEYS[2], whose)
  return seen and now - tonumber(seen) <= lease
end
for _, one in ipairs(dead(KEYS[1], KEYS[2], ARGV[1], lease, now)) do
  local name = one[1]
  if one[2] == 0 then
    if name ~= ARGV[4] then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'w', name) end
  elseif room > 0 and not left_alone(name) then
    for _, held in ipairs(redis.call('XPENDING', KEYS[1], 'w', '-', '+', room, name)) do
      local id = held[1]
      local entry = redis.call('XCLAIM', KEYS[1], 'w', ARGV[1], 0, id)[1]
      if entry then
        local state = redis.call('HMGET', KEYS[3], id, 'v' .. id, 't' .. id)
        out[#out + 1] = {id, entry[2], held[4] + 1, state[1], state[2], state[3]}
      else
        redis.call('XACK', KEYS[1], 'w', id)
      end
      room = room - 1
    end
  end
end
return out
"""
)

#: KEYS: stream. ARGV: consumer. Takes it off the group's list, if it holds nothing.
PART: Final = """
if #redis.call('XPENDING', KEYS[1], 'w', '-', '+', 1, ARGV[1]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'w', ARGV[1])
end
return 1
"""

#: KEYS: workers, and of each destination stream, ledger. ARGV: consumer ('' only looks), lease in ms. Says that the
#: caller lives: [workers that deliver, [[entries that belong to the dead, entries that nobody has read, entries that
#: the caller has, counts], ...]].
LOOK: Final = (
    _ENTER
    + _ALLOW_OOM
    + """
local now, lease = now_ms(), tonumber(ARGV[2])
if ARGV[1] ~= '' then redis.call('ZADD', KEYS[1], now, ARGV[1]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 86400000)
local living = {}
local workers = 0
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now - lease, '+inf')) do
  living[name] = true
  if string.sub(name, 1, 2) == 'w-' then workers = workers + 1 end
end
local out = {}
for at = 2, #KEYS, 2 do
  local orphans, held, mine = 0, 0, 0
  for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[at], 'w')) do
    local c = {}
    for at = 1, #fields, 2 do c[fields[at]] = fields[at + 1] end
    held = held + c['pending']
    if c['name'] == ARGV[1] then
      mine = c['pending']
    elseif not living[c['name']] then
      orphans = orphans + c['pending']
    end
  end
  -- an entry leaves the stream and the list of what is held at once: what is in one only, nobody has read
  out[#out + 1] = {orphans, redis.call('XLEN', KEYS[at]) - held, mine, redis.call('HGETALL', KEYS[at + 1])}
end
return {workers, out}
"""
)

#: KEYS: stream, state. ARGV: id to begin with, entries at most, names to be left out. What others hold: [id to go on
#: behind or false, [[id, fields, state], ...]].
HELD: Final = """
local held = redis.call('XPENDING', KEYS[1], 'w', ARGV[1], '+', tonumber(ARGV[2]))
local out, last = {}, false
for _, one in ipairs(held) do
  last = one[1]
  if one[2] ~= ARGV[3] and one[2] ~= ARGV[4] then
    local entry = redis.call('XRANGE', KEYS[1], one[1], one[1])[1]
    if entry then out[#out + 1] = {one[1], entry[2], redis.call('HGET', KEYS[2], one[1])} end
  end
end
return {last, out}
"""

#: KEYS: stops, bell. ARGV: entry and what is asked, in turns.
STOP: Final = (
    _ALLOW_OOM
    + """
for at = 1, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
redis.call('XADD', KEYS[2], 'MAXLEN', 1, '*', 's', 1)
return 1
"""
)

#: KEYS: stops, stopped. ARGV: entry, how many of its records were stopped. Who asked may be gone: kept for a minute.
ANSWER: Final = """
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], 60)
return 1
"""

#: KEYS: ledger, wait, holders, stream, bell. ARGV: members of ``wait`` to end, each with its packed counts.
END_WAITING: Final = (
    _ENTER
    + _ALLOW_OOM
    + """
local ended = {}
for at = 1, #ARGV, 2 do
  local gone = redis.call('ZREM', KEYS[2], ARGV[at])
  if gone == 1 then count(KEYS[1], cmsgpack.unpack(ARGV[at + 1])) end
  ended[#ended + 1] = gone
end
return {ended, counts(KEYS[1])}
"""
)

#: KEYS: letters, letter-data, ledger, stream, bell, wait, holders. ARGV: for each letter its number, its packed counts,
#: order key, and fields of the entry that it becomes ('' if none). Returns which of them were still there.
MOVE_LETTERS: Final = (
    _ENTER
    + """
local moved = {}
for at = 1, #ARGV, 4 do
  local gone = redis.call('ZREMRANGEBYSCORE', KEYS[1], ARGV[at], ARGV[at])
  if gone == 1 then
    redis.call('HDEL', KEYS[2], ARGV[at])
    count(KEYS[3], cmsgpack.unpack(ARGV[at + 1]))
    if ARGV[at + 3] ~= '' then
      if ARGV[at + 2] == '' then
        enter(KEYS[4], KEYS[5], cmsgpack.unpack(ARGV[at + 3]))
      else
        enter_keyed(KEYS[4], KEYS[5], KEYS[6], KEYS[7], ARGV[at + 2], ARGV[at + 3])
      end
    end
  end
  moved[#moved + 1] = gone
end
return {moved, counts(KEYS[3])}
"""
)

#: KEYS: letters, letter-data. ARGV: how many may stay, and be removed at a time. Returns how many were removed.
PRUNE_LETTERS: Final = """
local over = math.min(redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[1]), tonumber(ARGV[2]))
if over <= 0 then return 0 end
local found = redis.call('ZRANGE', KEYS[1], 0, over - 1, 'WITHSCORES')
for at = 1, #found, 2 do
  redis.call('ZREM', KEYS[1], found[at])
  redis.call('HDEL', KEYS[2], string.format('%d', found[at + 1]))
end
return over
"""

#: KEYS: bucket. ARGV: tokens per second, burst, longest reservation in seconds. Takes a token, or reserves the next:
#: returns seconds until it may be used, and whether it is reserved (0: ask again then).
DRAW: Final = """
redis.call('PEXPIRE', KEYS[1], 3600000)
local t = redis.call('TIME')
local now = t[1] + t[2] / 1000000
local rate, burst, ahead = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local had = redis.call('HMGET', KEYS[1], 'next', 'closed', 'factor')
local closed, factor = tonumber(had[2] or 0), tonumber(had[3] or 1)
if now < closed then return {tostring(closed - now), 0} end
local gap = 1 / (rate * factor)
-- when the bucket is full, `next` lies burst - 1 gaps in the past of now
local due = math.max(tonumber(had[1] or 0), now - (burst - 1) * gap)
local wait = due - now
if wait > ahead then return {tostring(wait - ahead), 0} end
redis.call('HSET', KEYS[1], 'next', string.format('%.6f', due + gap), 'factor', math.min(1, factor + 0.02))
redis.call('PEXPIRE', KEYS[1], 3600000)
return {tostring(math.max(0, wait)), 1}
"""

#: KEYS: bucket, news. ARGV: seconds, account, rate, burst. A lesson that is being learnt already is not learnt twice.
WITHHOLD: Final = """
redis.call('PEXPIRE', KEYS[1], 3600000)
local t = redis.call('TIME')
local now = t[1] + t[2] / 1000000
local had = redis.call('HMGET', KEYS[1], 'closed', 'factor')
local closed, factor = tonumber(had[1] or 0), tonumber(had[2] or 1)
if now >= closed then factor = math.max(0.05, factor * 0.5) end
closed = math.max(closed, now + tonumber(ARGV[1]))
redis.call('HSET', KEYS[1], 'closed', string.format('%.6f', closed), 'factor', factor,
  'next', string.format('%.6f', closed))
redis.call('PEXPIRE', KEYS[1], 3600000)
redis.call('XADD', KEYS[2], 'MAXLEN', 64, '*', 'a', ARGV[2], 's', ARGV[1])
return 1
"""
