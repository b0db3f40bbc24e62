"""The Lua scripts that run inside Redis, each as a whole or not at all.

Keys of a destination, see :class:`~capi_async.spool.redis.keys.DestinationKeys`:

- ``stream``: entries of up to 256 records, read through the consumer group ``w``. Fields of an entry: ``d`` data,
  ``s`` name of the key that encrypted it, ``n`` number of records, ``b`` bytes of their bodies, ``k`` order key (then
  there is one record), ``u`` token that its maker gave it, ``f`` state that it begins with.
- ``notices``: a stream of one entry, the last notice: ``i`` an entry was appended, ``o`` entries were released, ``s``
  recalls were requested.
- ``ledger``: hash of counts; ``#`` is its version.
- ``states``: hash of what happened to the records of entries that are claimed; ``v`` and an id: version of that state.
- ``blocked``: sorted set of the records that wait for an older record of their order key, by key and age.
- ``order_keys``: hash of the order keys of which a record is in the stream; the empty field numbers the blocked ones.
- ``recalls``: hash of an entry to the records that its holder is asked to end; ``recall_answers``: how many it ended.
- ``sent``: sorted set of delivered requests by time, see :mod:`capi_async.spool.redis.sent_requests`.

Keys of a spool, see :class:`~capi_async.spool.redis.keys.Keys`:

- ``destinations``: set of their names.
- ``consumers``: sorted set of processes by the time of their last heartbeat.
- ``dead_letters`` and ``dead_letter_data``: what can be listed of dead letters, by number, and what can be sent.
- ``rate:*``: token buckets; ``throttling``: stream of the accounts that platforms throttled.
- ``append_number`` and ``last_change``: number of a process's last append or change, and its result. ``result``: the
  result of one other call. A process that repeats a call because the answer was lost gets the same result.

A consumer of the group is a process, or one of two kinds of name that no process has: ``nobody`` holds entries that
were released, ``looked-CONSUMER-NUMBER`` those that a process has searched for records to erase. All times are Redis's
own.
"""

from __future__ import annotations

from typing import Final

#: Out of memory, Redis refuses the first write of a script that needs memory, but not the writes of a script that has
#: written before. A deletion of nothing therefore lets scripts run that free memory, or lead to that: without it a
#: full queue would never be emptied.
_ALLOW_OUT_OF_MEMORY: Final = "redis.call('DEL', KEYS[1] .. ':none')\n"

_SHARED: Final = """
local function append(stream, notices, fields)
  local id = redis.call('XADD', stream, '*', unpack(fields))
  redis.call('XADD', notices, 'MAXLEN', 1, '*', 'i', id)
  return id
end
local function append_keyed(stream, notices, blocked, order_keys, key, data)
  if redis.call('HSETNX', order_keys, key, 1) == 1 then
    return append(stream, notices, cmsgpack.unpack(data))
  end
  local number = redis.call('HINCRBY', order_keys, '', 1)
  redis.call('ZADD', blocked, 0, key .. string.format('%016x', number) .. data)
  return false
end
local function unblock(stream, notices, blocked, order_keys, key)
  while true do
    local found = redis.call('ZRANGEBYLEX', blocked, '[' .. key, '[' .. key .. '\\255', 'LIMIT', 0, 1)
    if not found[1] then
      redis.call('HDEL', order_keys, key)
      return 0
    end
    redis.call('ZREM', blocked, found[1])
    -- a damaged record must not fail the writes made so far, nor block those behind it
    local whole, fields = pcall(cmsgpack.unpack, string.sub(found[1], 33))
    if whole and type(fields) == 'table' and #fields > 1 then
      append(stream, notices, fields)
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
local function has_claim(stream, id, consumer, epoch)
  local claim = redis.call('XPENDING', stream, 'w', id, id, 1)[1]
  return claim and claim[2] == consumer and (epoch == 0 or claim[4] == epoch)
end
local function earlier_result(key)
  local packed = redis.call('GET', key)
  return packed and cmsgpack.unpack(packed)
end
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
"""

#: Creates the consumer groups that do not exist. KEYS: stream of each destination.
CREATE_GROUPS: Final = (
    _ALLOW_OUT_OF_MEMORY
    + """
for at = 1, #KEYS do
  local made = redis.pcall('XGROUP', 'CREATE', KEYS[at], 'w', '0', 'MKSTREAM')
  if made['err'] and not string.find(made['err'], 'BUSYGROUP') then return made end
end
return 1
"""
)

#: Appends entries and counts them. KEYS: append_number, destinations, and of each destination stream, notices, ledger,
#: blocked, order_keys. ARGV: number of this append, and [[name, counts, [order key, or the fields besides the data,
#: ...]], ...]; then, in order, the data of each entry, or all its fields, packed, if it has an order key. Returns
#: [[ids, ledger], ...]. An append that is repeated changes nothing and gets the result of the first time; one that was
#: delayed until after a later one of its process changes nothing.
APPEND_ENTRIES: Final = (
    _SHARED
    + """
local last = tonumber(redis.call('GET', KEYS[1]) or 0)
local repeated = last >= tonumber(ARGV[1])
local kept = {}
if repeated then
  local packed = last == tonumber(ARGV[1]) and redis.call('GET', KEYS[1] .. ':ids')
  if packed then kept = cmsgpack.unpack(packed) end
else
  redis.call('SET', KEYS[1], ARGV[1], 'EX', 3600)
end
local out, at = {}, 2
for index, one in ipairs(cmsgpack.unpack(ARGV[2])) do
  local base = 2 + (index - 1) * 5
  local stream, notices, ledger = KEYS[base + 1], KEYS[base + 2], KEYS[base + 3]
  local ids = kept[index] or {}
  for number, key in ipairs(one[3]) do
    at = at + 1
    if repeated then
      ids[number] = ids[number] or ''
    elseif type(key) == 'table' then
      -- the data is large and must not be copied through MessagePack
      ids[number] = redis.call('XADD', stream, '*', 'd', ARGV[at], unpack(key))
      redis.call('XADD', notices, 'MAXLEN', 1, '*', 'i', ids[number])
    else
      ids[number] = append_keyed(stream, notices, KEYS[base + 4], KEYS[base + 5], key, ARGV[at]) or ''
    end
  end
  kept[index] = ids
  if not repeated then
    redis.call('SADD', KEYS[2], one[1])
    count(ledger, one[2])
  end
  out[index] = {ids, counts(ledger)}
end
if not repeated then redis.call('SET', KEYS[1] .. ':ids', cmsgpack.pack(kept), 'EX', 3600) end
return out
"""
)

#: Stores what happened to claimed entries, and removes those that are finished. KEYS: stream, notices, ledger, states,
#: blocked, order_keys, dead_letters, dead_letter_data, last_change. ARGV: consumer, number of this change, and a
#: packed change of each entry: [id, epoch, version, records left, state, counts, order key, dead letters, fields of
#: the entry that replaces it]. Returns [ids that the consumer does not hold, order keys that went on, ledger, [old id,
#: new id, ...]]. A change that is repeated changes nothing and gets the result of the first time.
STORE_CHANGES: Final = (
    _SHARED
    + _ALLOW_OUT_OF_MEMORY
    + """
local lost, unblocked, moved = {}, 0, {}
local stream, notices, ledger, states = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local before = redis.call('GET', KEYS[9])
if before then
  local known = cmsgpack.unpack(before)
  if tonumber(known[1]) >= tonumber(ARGV[2]) then return {known[2], known[3], counts(ledger), known[4]} end
end
for at = 3, #ARGV do
  local c = cmsgpack.unpack(ARGV[at])
  local id = c[1]
  if not has_claim(stream, id, ARGV[1], c[2]) then
    lost[#lost + 1] = id
  else
    local written = redis.call('HGET', states, 'v' .. id)
    if (tonumber(written or 0) or 0) < c[3] then
      if c[4] == 0 then
        redis.call('XACK', stream, 'w', id)
        redis.call('XDEL', stream, id)
        redis.call('HDEL', states, id, 'v' .. id, 't' .. id)
        if #c[9] > 0 then
          moved[#moved + 1] = id
          moved[#moved + 1] = append(stream, notices, c[9])
        end
        if c[7] ~= '' then unblocked = unblocked + unblock(stream, notices, KEYS[5], KEYS[6], c[7]) end
      else
        redis.call('HSET', states, 'v' .. id, c[3])
        redis.call('HSET', states, id, c[5])
        -- an earlier release noted an attempt for the whole entry; the state of its records holds that by now
        redis.call('HDEL', states, 't' .. id)
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
redis.call('SET', KEYS[9], cmsgpack.pack({ARGV[2], lost, unblocked, moved}), 'EX', 3600)
return {lost, unblocked, counts(ledger), moved}
"""
)

#: Releases entries, so that the next process that reads gets them. KEYS: stream, notices. ARGV: consumer, the name
#: that holds them from now on, ids. Returns how many were released.
RELEASE_ENTRIES: Final = (
    _SHARED
    + _ALLOW_OUT_OF_MEMORY
    + """
local released = 0
for at = 3, #ARGV do
  if has_claim(KEYS[1], ARGV[at], ARGV[1], 0) then
    redis.call('XCLAIM', KEYS[1], 'w', ARGV[2], 0, ARGV[at], 'JUSTID')
    released = released + 1
  end
end
if released > 0 then redis.call('XADD', KEYS[2], 'MAXLEN', 1, '*', 'o', released) end
return released
"""
)

#: Moves the claims of one name to another. KEYS: stream, notices. ARGV: the old name, the new name, most entries.
#: Returns 1 if there may be more, else 0.
MOVE_CLAIMS: Final = (
    _SHARED
    + _ALLOW_OUT_OF_MEMORY
    + """
local claims = redis.call('XPENDING', KEYS[1], 'w', '-', '+', tonumber(ARGV[3]), ARGV[1])
for _, one in ipairs(claims) do redis.call('XCLAIM', KEYS[1], 'w', ARGV[2], 0, one[1], 'JUSTID') end
if #claims > 0 then redis.call('XADD', KEYS[2], 'MAXLEN', 1, '*', 'o', #claims) end
if #claims == tonumber(ARGV[3]) then return 1 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'w', ARGV[1])
return 0
"""
)

#: Lists the ids of the entries that a consumer holds. KEYS: stream. ARGV: consumer, id to begin with, most ids.
LIST_CLAIMS: Final = """
local out = {}
for _, one in ipairs(redis.call('XPENDING', KEYS[1], 'w', ARGV[2], '+', tonumber(ARGV[3]), ARGV[1])) do
  out[#out + 1] = one[1]
end
return out
"""

#: Reads entries that the consumer holds, under the epoch that they have. KEYS: stream, states. ARGV: consumer, ids.
#: Returns what :data:`TAKE_OVER_ENTRIES` returns, of those that it does hold.
READ_CLAIMED: Final = """
local out = {}
for at = 2, #ARGV do
  local id = ARGV[at]
  local claim = redis.call('XPENDING', KEYS[1], 'w', id, id, 1)[1]
  if claim and claim[2] == ARGV[1] then
    local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
    if entry then
      local state = redis.call('HMGET', KEYS[2], id, 'v' .. id, 't' .. id)
      out[#out + 1] = {id, entry[2], claim[4], state[1], state[2], state[3]}
    else
      redis.call('XACK', KEYS[1], 'w', id)
    end
  end
end
return out
"""

#: The other consumers of a group that had no heartbeat for the length of a lease, or never had one.
_EXPIRED: Final = """
local function expired(stream, consumers, consumer, lease_ms, now)
  local found = {}
  for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', stream, 'w')) do
    local c = {}
    for at = 1, #fields, 2 do c[fields[at]] = fields[at + 1] end
    if c['name'] ~= consumer then
      local beat = redis.call('ZSCORE', consumers, c['name'])
      if not beat or now - tonumber(beat) > lease_ms then
        found[#found + 1] = {c['name'], c['pending']}
      end
    end
  end
  return found
end
"""

#: Takes over entries of expired consumers, under a new epoch. KEYS: stream, consumers, states. ARGV: consumer, lease
#: in ms, most entries, and the name under which the caller keeps entries that it has searched, or ''. If it is given,
#: these are skipped, and so are those that other processes are searching. Returns [[id, fields, epoch, state, version,
#: time of an attempt as an earlier release noted it], ...].
TAKE_OVER_ENTRIES: Final = (
    _SHARED
    + _EXPIRED
    + """
local out, room = {}, tonumber(ARGV[3])
local now, lease = now_ms(), tonumber(ARGV[2])
local function is_skipped(name)
  if ARGV[4] == '' then return false end
  if name == ARGV[4] then return true end
  local searcher = string.match(name, '^looked%-(.+)%-%d+$')
  local beat = searcher and redis.call('ZSCORE', KEYS[2], searcher)
  return beat and now - tonumber(beat) <= lease
end
for _, one in ipairs(expired(KEYS[1], KEYS[2], ARGV[1], lease, now)) do
  local name = one[1]
  if one[2] == 0 then
    if name ~= ARGV[4] then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'w', name) end
  elseif room > 0 and not is_skipped(name) then
    for _, claim in ipairs(redis.call('XPENDING', KEYS[1], 'w', '-', '+', room, name)) do
      local id = claim[1]
      local entry = redis.call('XCLAIM', KEYS[1], 'w', ARGV[1], 0, id)[1]
      if entry then
        local state = redis.call('HMGET', KEYS[3], id, 'v' .. id, 't' .. id)
        out[#out + 1] = {id, entry[2], claim[4] + 1, state[1], state[2], state[3]}
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

#: Removes a consumer that holds nothing from the group. KEYS: stream. ARGV: consumer.
REMOVE_CONSUMER: Final = """
if #redis.call('XPENDING', KEYS[1], 'w', '-', '+', 1, ARGV[1]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'w', ARGV[1])
end
return 1
"""

#: Notes that a process lives, and reads the counts. KEYS: consumers, and of each destination stream, ledger. ARGV:
#: consumer ('' only reads), lease in ms. Returns [number of processes that deliver, [[entries of expired consumers,
#: entries that no consumer has read, entries that the caller holds, ledger, id of the first entry or an empty text],
#: ...]].
HEARTBEAT: Final = (
    _SHARED
    + _ALLOW_OUT_OF_MEMORY
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
  local unclaimed, claimed, own = 0, 0, 0
  for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[at], 'w')) do
    local c = {}
    for at = 1, #fields, 2 do c[fields[at]] = fields[at + 1] end
    claimed = claimed + c['pending']
    if c['name'] == ARGV[1] then
      own = c['pending']
    elseif not living[c['name']] then
      unclaimed = unclaimed + c['pending']
    end
  end
  -- an entry leaves the stream and the list of claims at once: what is in the stream only, no consumer has read
  local first = redis.call('XRANGE', KEYS[at], '-', '+', 'COUNT', 1)[1]
  out[#out + 1] = {
    unclaimed, redis.call('XLEN', KEYS[at]) - claimed, own,
    redis.call('HGETALL', KEYS[at + 1]), first and first[1] or ''
  }
end
return {workers, out}
"""
)

#: Reads entries that other consumers hold. KEYS: stream, states. ARGV: id to begin with, most entries, two names to
#: leave out. Returns [id after which to go on, or false, [[id, fields, state], ...]].
READ_CLAIMED_BY_OTHERS: Final = """
local claims = redis.call('XPENDING', KEYS[1], 'w', ARGV[1], '+', tonumber(ARGV[2]))
local out, last = {}, false
for _, one in ipairs(claims) do
  last = one[1]
  if one[2] ~= ARGV[3] and one[2] ~= ARGV[4] then
    local entry = redis.call('XRANGE', KEYS[1], one[1], one[1])[1]
    if entry then out[#out + 1] = {one[1], entry[2], redis.call('HGET', KEYS[2], one[1])} end
  end
end
return {last, out}
"""

#: Asks holders to end records. KEYS: recalls, notices. ARGV: id of an entry and the packed recall, alternating.
REQUEST_RECALLS: Final = (
    _ALLOW_OUT_OF_MEMORY
    + """
for at = 1, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
redis.call('XADD', KEYS[2], 'MAXLEN', 1, '*', 's', 1)
return 1
"""
)

#: Answers a recall. KEYS: recalls, recall_answers. ARGV: id of the entry, how many of its records were ended. The
#: answer is kept for a minute, because the process that asked may be gone.
ANSWER_RECALL: Final = """
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], 60)
return 1
"""

#: Ends blocked records. KEYS: ledger, blocked, result. ARGV: members of ``blocked``, each followed by its packed
#: counts. Returns [[1 if it was there, ...], ledger]. Repeated with the same key for its result, it changes nothing
#: and gets the result of the first time.
END_BLOCKED: Final = (
    _SHARED
    + _ALLOW_OUT_OF_MEMORY
    + """
local ended = earlier_result(KEYS[3])
if not ended then
  ended = {}
  for at = 1, #ARGV, 2 do
    local was_there = redis.call('ZREM', KEYS[2], ARGV[at])
    if was_there == 1 then count(KEYS[1], cmsgpack.unpack(ARGV[at + 1])) end
    ended[#ended + 1] = was_there
  end
  redis.call('SET', KEYS[3], cmsgpack.pack(ended), 'EX', 3600)
end
return {ended, counts(KEYS[1])}
"""
)

#: Removes dead letters, and appends the entries that they become. KEYS: dead_letters, dead_letter_data, ledger,
#: stream, notices, blocked, order_keys, result. ARGV: of each letter its number, its packed counts, its order key, and
#: the fields of the entry that it becomes ('' if none). Returns and repeats as :data:`END_BLOCKED` does.
MOVE_DEAD_LETTERS: Final = (
    _SHARED
    + """
local moved = earlier_result(KEYS[8])
if not moved then
  moved = {}
  for at = 1, #ARGV, 4 do
    local was_there = redis.call('ZREMRANGEBYSCORE', KEYS[1], ARGV[at], ARGV[at])
    if was_there == 1 then
      redis.call('HDEL', KEYS[2], ARGV[at])
      count(KEYS[3], cmsgpack.unpack(ARGV[at + 1]))
      if ARGV[at + 3] ~= '' then
        if ARGV[at + 2] == '' then
          append(KEYS[4], KEYS[5], cmsgpack.unpack(ARGV[at + 3]))
        else
          append_keyed(KEYS[4], KEYS[5], KEYS[6], KEYS[7], ARGV[at + 2], ARGV[at + 3])
        end
      end
    end
    moved[#moved + 1] = was_there
  end
  redis.call('SET', KEYS[8], cmsgpack.pack(moved), 'EX', 3600)
end
return {moved, counts(KEYS[3])}
"""
)

#: Removes the oldest dead letters beyond a number. KEYS: dead_letters, dead_letter_data. ARGV: how many may stay, most
#: to remove now. Returns how many were removed.
PRUNE_DEAD_LETTERS: Final = """
local over = math.min(redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[1]), tonumber(ARGV[2]))
if over <= 0 then return 0 end
local found = redis.call('ZRANGE', KEYS[1], 0, over - 1, 'WITHSCORES')
for at = 1, #found, 2 do
  redis.call('ZREM', KEYS[1], found[at])
  redis.call('HDEL', KEYS[2], string.format('%d', found[at + 1]))
end
return over
"""

#: Takes a token, or reserves the next one. KEYS: bucket. ARGV: tokens per second, burst, longest reservation in
#: seconds. Returns [seconds until the token may be used, 1 if it is reserved, or 0: ask again after these seconds].
TAKE_FROM_BUCKET: Final = """
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

#: Closes a bucket for a time and halves its rate, unless it is closed already. KEYS: bucket, throttling. ARGV:
#: seconds, account.
CLOSE_BUCKET: Final = """
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
