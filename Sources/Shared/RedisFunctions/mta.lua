#!lua name=owlatmta1
-- The queue's atomic steps. One library, version 1: a program of another version loads its own beside it.
-- KEYS[1] of every Function is the prefix with its hash tag, `{mta}`; every other name is built here, from NAME, which a
-- test compares with RedisKeys.swift. Policy time is an argument; only leases and deadlines read Redis's own TIME.
--
-- A message is two hashes. What it is stands in `r:<num>`: m the record, c content hash, g group, o organisation, z score, x expiry, d recipient as
-- suppression compares it, t counters charged. Where it is stands in `m:<num>`: s state (q queued, d dispatched, w due later, h held, s settled and not
-- yet reduced, u uncertain and kept), n attempt serial, f highest settled serial, r deferrals, k crash marks, e stream entry, i IP. Workers write neither: they
-- say what came of their entries (settle), and the host's reducer makes it so (effects). A number that is in a queue, index or list while its state says otherwise
-- is stale, and whoever meets it drops it.

local NAME = {
  message = ':m:', record = ':r:', content = ':c:', queue = ':q:', directory = ':dir', wake = ':wake', ip = ':ip:', outcomes = ':out:',
  done = ':done:', due = ':due', expiry = ':exp', held = ':held', identity = ':id:', live = ':live', hosts = ':hosts',
  journal = ':journal', suppression = ':sup:', counter = ':n:', lanes = ':lanes', numbers = ':numbers', sequence = ':seq',
  policy = ':policy', claims = ':claims', owners = ':owners', sessions = ':conn:', feedback = ':fb:', unsubscribed = ':uns:',
}

local INLINE_LIMIT = 32768
-- States of a message that no queue holds.
local ELSEWHERE = { d = true, w = true, h = true, s = true, u = true }
local WAKE_CAP = 100000
-- So many attempts of a message a run of Redis may have forgotten; more is a worker's invention.
local FORGOTTEN = 64

local function message_key(p, num) return p .. NAME.message .. num end
local function record_key(p, num) return p .. NAME.record .. num end
local function queue_key(p, part) return p .. NAME.queue .. part end

-- Brings the directory row of each touched part up to date. Answers a sequence number, then part, count, head score,
-- triples: answers may be read in another order than they were made, and the number tells which row is newer. A part that
-- became non-empty or has a better head is told to other hosts; a host reads its own from the answer.
local function refresh(p, host, touched)
  if next(touched) == nil then return { 0 } end
  local heads = { redis.call('INCR', p .. NAME.sequence) }
  local dir = p .. NAME.directory
  local shared = nil
  for part, _ in pairs(touched) do
    local q = queue_key(p, part)
    local count = redis.call('ZCARD', q)
    if count == 0 then
      redis.call('HDEL', dir, part)
      heads[#heads + 1] = part
      heads[#heads + 1] = 0
      heads[#heads + 1] = ''
    else
      local head = redis.call('ZRANGE', q, 0, 0, 'WITHSCORES')[2]
      local old = redis.call('HGET', dir, part)
      redis.call('HSET', dir, part, count .. ' ' .. head)
      heads[#heads + 1] = part
      heads[#heads + 1] = count
      heads[#heads + 1] = head
      local old_head = old and tonumber(string.match(old, ' (.+)$'))
      if not old_head or tonumber(head) < old_head then
        if shared == nil then shared = redis.call('SCARD', p .. NAME.hosts) > 1 end
        if shared then
          redis.call('XADD', p .. NAME.wake, 'MAXLEN', '~', WAKE_CAP, '*', 'h', host, 'g', part, 'c', count, 'z', head,
            'q', heads[1])
        end
      end
    end
  end
  return heads
end

local function enqueue(p, touched, num, group, org, score)
  local part = group .. ' ' .. org
  redis.call('ZADD', queue_key(p, part), score, num)
  redis.call('HSET', message_key(p, num), 's', 'q')
  touched[part] = true
end

-- Takes a message from wherever it waits. False when it does not wait: dispatched or settled.
local function take(p, touched, num, r)
  if r.s == 'q' then
    local part = r.g .. ' ' .. r.o
    redis.call('ZREM', queue_key(p, part), num)
    touched[part] = true
  elseif r.s == 'w' then
    redis.call('ZREM', p .. NAME.due, num)
  elseif r.s == 'h' then
    redis.call('HDEL', p .. NAME.held, num)
  else
    return false
  end
  return true
end

local function figure(text) return tonumber(text or 0) end

-- Where a message is.
local function read_state(p, num)
  local v = redis.call('HMGET', message_key(p, num), 's', 'n', 'f', 'e', 'i', 'k', 'r')
  if not v[1] then return nil end
  return { s = v[1], n = figure(v[2]), f = figure(v[3]), e = v[4], i = v[5], k = figure(v[6]), r = figure(v[7]) }
end

-- Where it is and what.
local function read(p, num)
  local r = read_state(p, num)
  if not r then return nil end
  local v = redis.call('HMGET', record_key(p, num), 'g', 'o', 'z', 'c', 't')
  if not v[1] then return nil end
  r.g, r.o, r.z, r.c, r.t = v[1], v[2], v[3], v[4], v[5]
  return r
end

-- What was charged when a message was dispatched and did not go is given back, once; with a kind, only that kind.
local function uncount(p, num, counters, kind)
  if counters and counters ~= '' then
    for key in string.gmatch(counters, '[^\n]+') do
      if not kind or string.sub(key, 1, #kind) == kind then
        local full = p .. NAME.counter .. key
        if redis.call('EXISTS', full) == 1 then redis.call('DECR', full) end
      end
    end
    redis.call('HDEL', record_key(p, num), 't')
  end
end

-- A message's end: record, content reference, expiry row, live count.
local function release(p, num, content)
  redis.call('DEL', message_key(p, num), record_key(p, num))
  redis.call('ZREM', p .. NAME.expiry, num)
  redis.call('DECR', p .. NAME.live)
  if content and content ~= '' then
    local c = p .. NAME.content .. content
    if redis.call('HINCRBY', c, 'n', -1) <= 0 then redis.call('DEL', c) end
  end
end

-- Suppression rows: hash `sup:<organisation or *>`, address → `<until ms or 0> <reason> <since ms> <source>`. Whom a message may
-- not reach is its address, and behind a line feed the list that its recipient may have left: hash `uns:<organisation>`,
-- `<address> LF <list>` → `<since ms> <last asked ms> <message id>`; see leave.
local function is_suppressed(p, org, address, now)
  local bare = string.match(address, '^([^\n]*)\n')
  if bare then
    if redis.call('HEXISTS', p .. NAME.unsubscribed .. org, address) == 1 then return true end
    address = bare
  end
  for _, scope in ipairs({ '*', org }) do
    local row = redis.call('HGET', p .. NAME.suppression .. scope, address)
    if row then
      local untl = tonumber(string.match(row, '^%d+'))
      if untl == 0 or untl > tonumber(now) then return true end
    end
  end
  return false
end

-- A row that lasts keeps its first reason; one that ends, or has ended, gives way to it.
local function suppress(p, scope, address, row)
  local key = p .. NAME.suppression .. scope
  local old = redis.call('HGET', key, address)
  if not old or string.match(old, '^%d+') ~= '0' then redis.call('HSET', key, address, row) end
end

-- Closes a serial and appends its outcome; the reducer reads the record by `records`.
local function append_outcome(p, host, num, serial, outcome)
  redis.call('HSET', message_key(p, num), 's', 's', 'n', serial, 'f', serial)
  redis.call('XADD', p .. NAME.outcomes .. host, '*', 'n', num, 'a', serial, 'o', outcome)
end

local function now_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- accept: ARGV host, now, deadline (Redis ms), nonce, max live messages, outcome of a suppressed one, number of contents, then hash, octets (may be
-- empty: "you should have it"); number of messages, then per message: num, organisation, identity, message id, group,
-- score, due (ms; h and a held row; e and the outcome that ends it at once; or ''), expiry, content hash, record, receipt until (ms), address as suppression compares it.
-- Answers { per message: status, num, accepted at, message id }, heads. status: ok, dup, need, full, late.
local function accept(keys, argv)
  local p = keys[1]
  local host, now, deadline, nonce, max = argv[1], argv[2], tonumber(argv[3]), argv[4], tonumber(argv[5])
  local suppressed_outcome = argv[6]
  local at = 7
  local contents = {}
  for _ = 1, tonumber(argv[at]) do
    contents[argv[at + 1]] = argv[at + 2]
    at = at + 2
  end
  at = at + 1
  local late = now_ms() > deadline
  local live = tonumber(redis.call('GET', p .. NAME.live) or 0)
  local added = 0
  local touched = {}
  local answers = {}
  local count = tonumber(argv[at])
  at = at + 1
  for _ = 1, count do
    local num, org, identity, message_id, group, score, due, expiry, hash, record, untl, address =
      unpack(argv, at, at + 11)
    at = at + 12
    local id_key = p .. NAME.identity .. identity
    local receipt = redis.call('HGET', id_key, 'w' .. org)
    local status
    local known, known_until, accepted_at, known_nonce, known_message
    if receipt then
      known, known_until, accepted_at, known_nonce, known_message =
        string.match(receipt, '^(%S+) (%S+) (%S+) (%S+) (.*)$')
      if tonumber(known_until) <= tonumber(now) then receipt = false end
    end
    if receipt then
      status = known_nonce == nonce and known == num and 'ok' or 'dup'
      -- Our own repeat: the answer that told the head was lost.
      if status == 'ok' then touched[group .. ' ' .. org] = true end
      answers[#answers + 1] = { status, known, accepted_at, known_message }
    else
      local c = p .. NAME.content .. hash
      if late then
        status = 'late'
      elseif live + added >= max then
        status = 'full'
      elseif redis.call('EXISTS', c) == 0 and (contents[hash] or '') == '' then
        status = 'need'
      else
        status = 'ok'
        if redis.call('HINCRBY', c, 'n', 1) == 1 then redis.call('HSET', c, 'b', contents[hash]) end
        redis.call('HSET', message_key(p, num), 's', 'q', 'n', 0, 'r', 0)
        redis.call('HSET', record_key(p, num), 'g', group, 'o', org, 'z', score, 'c', hash, 'x', expiry, 'd', address, 'm', record)
        redis.call('ZADD', p .. NAME.expiry, expiry, num)
        redis.call('HSET', id_key, 'w' .. org, num .. ' ' .. untl .. ' ' .. now .. ' ' .. nonce .. ' ' .. message_id)
        if redis.call('PTTL', id_key) < 0 then
          redis.call('PEXPIREAT', id_key, untl)
        else
          redis.call('PEXPIREAT', id_key, untl, 'GT')
        end
        local m_key = p .. NAME.identity .. message_id
        redis.call('HSET', m_key, 'm' .. org, num)
        if m_key ~= id_key then
          if redis.call('PTTL', m_key) < 0 then
            redis.call('PEXPIREAT', m_key, untl)
          else
            redis.call('PEXPIREAT', m_key, untl, 'GT')
          end
        end
        if is_suppressed(p, org, address, now) then
          append_outcome(p, host, num, 0, suppressed_outcome)
        elseif string.sub(due, 1, 1) == 'e' then
          append_outcome(p, host, num, 0, string.sub(due, 2))
        elseif string.sub(due, 1, 1) == 'h' then
          redis.call('HSET', message_key(p, num), 's', 'h')
          redis.call('HSET', p .. NAME.held, num, string.sub(due, 2))
        elseif due ~= '' then
          redis.call('HSET', message_key(p, num), 's', 'w')
          redis.call('ZADD', p .. NAME.due, due, num)
        else
          enqueue(p, touched, num, group, org, score)
        end
        added = added + 1
      end
      answers[#answers + 1] = { status, num, now, message_id }
    end
  end
  if added > 0 then redis.call('INCRBY', p .. NAME.live, added) end
  return { answers, refresh(p, host, touched) }
end

-- dispatch: ARGV host, now, outcome of a suppressed one, number of picks, then per pick: part, n, IP, lane, route, earliest MAIL FROM (ms), step (ms),
-- next permit time of the lane (ms), number of counters, then key, limit, seconds to live.
-- Answers per pick { taken, number of the counter that stopped it or 0, num … }, then heads.
local function dispatch(keys, argv)
  local p = keys[1]
  local host, now, suppressed_outcome = argv[1], argv[2], argv[3]
  local at = 4
  local picks = tonumber(argv[at])
  at = at + 1
  local touched = {}
  local answers = {}
  for _ = 1, picks do
    local part, n, ip, lane, route, first, step, next_permit, counters =
      unpack(argv, at, at + 8)
    at = at + 9
    n = tonumber(n)
    local stopped = 0
    local names = {}
    for c = 1, tonumber(counters) do
      local key, limit, ttl = argv[at], tonumber(argv[at + 1]), argv[at + 2]
      at = at + 3
      names[#names + 1] = { key, ttl }
      local room = limit - tonumber(redis.call('GET', p .. NAME.counter .. key) or 0)
      if room < n then
        n = math.max(room, 0)
        stopped = c
      end
    end
    local answer = { 0, stopped }
    if n > 0 then
      local popped = redis.call('ZPOPMIN', queue_key(p, part), n)
      touched[part] = true
      local taken = 0
      local charged = ''
      for c = 1, #names do charged = charged .. names[c][1] .. '\n' end
      for index = 1, #popped, 2 do
        local num = popped[index]
        local key = message_key(p, num)
        local v = redis.call('HMGET', record_key(p, num), 'c', 'm', 'g', 'o', 'd')
        local w = redis.call('HMGET', key, 's', 'n', 'k')
        if not v[2] or ELSEWHERE[w[1] or 'x'] or v[3] .. ' ' .. v[4] ~= part then
          -- Stale.
        elseif is_suppressed(p, v[4], v[5], now) then
          append_outcome(p, host, num, figure(w[2]), suppressed_outcome)
        else
          local serial = figure(w[2]) + 1
          local c = p .. NAME.content .. v[1]
          local bytes = ''
          if redis.call('HSTRLEN', c, 'b') <= INLINE_LIMIT and redis.call('HGET', c, 'n') == '1' then
            bytes = redis.call('HGET', c, 'b') or ''
          end
          local entry = redis.call('XADD', p .. NAME.ip .. ip, '*', 'n', num, 'a', serial, 'k', w[3] or '0', 'l', lane,
            't', math.floor(tonumber(first) + taken * tonumber(step)), 'p', step, 'c', v[1], 'm', v[2], 'r', route, 'b', bytes)
          redis.call('HSET', key, 's', 'd', 'n', serial, 'i', ip, 'e', entry)
          redis.call('HSET', record_key(p, num), 't', charged)
          taken = taken + 1
          answer[#answer + 1] = num
        end
      end
      for c = 1, #names do
        local full = p .. NAME.counter .. names[c][1]
        redis.call('INCRBY', full, taken)
        redis.call('EXPIRE', full, names[c][2])
      end
      answer[1] = taken
      if taken > 0 then redis.call('HSET', p .. NAME.lanes, lane, next_permit) end
    end
    answers[#answers + 1] = answer
  end
  return { answers, refresh(p, host, touched) }
end

-- settle: what came of entries of an IP's stream, as its worker says; whether it may say so is judged by records and effects. So a
-- worker needs no right but to its own two streams. ARGV IP, host, journal position up to which all is told then ('' = nothing is said), count, then per
-- message: entry, num, serial, outcome.
local function settle(keys, argv)
  local p = keys[1]
  local ip, host, position = argv[1], argv[2], argv[3]
  local stream = p .. NAME.ip .. ip
  local said = p .. NAME.outcomes .. host .. ':' .. ip
  local count = tonumber(argv[4])
  local at = 5
  for index = 1, count do
    local entry, num, serial, outcome = unpack(argv, at, at + 3)
    at = at + 4
    local row = { 'n', num, 'a', serial, 'o', outcome, 'e', entry }
    if index == count and position ~= '' then row[9], row[10] = 'j', position end
    -- Said first: what cannot be said stays in the stream.
    redis.call('XADD', said, '*', unpack(row))
    redis.call('XACK', stream, 'w', entry)
    redis.call('XDEL', stream, entry)
  end
end

-- What is out is out no more by that entry.
local function drop_entry(p, r)
  if r.s ~= 'd' then return end
  local stream = p .. NAME.ip .. r.i
  redis.call('XACK', stream, 'w', r.e)
  redis.call('XDEL', stream, r.e)
end

-- replay: what a journal says of messages, after Redis lost a settle or the dispatch before it; told by the supervisor. ARGV host, IP, count, then per
-- line: num, serial, outcome, 1 = the attempt let go of the message before its dot. A line acts when its serial is open and not behind the record's: it is newer than what Redis knows, so
-- also than an outcome that is not reduced yet (effects compares serials) or one that was kept as uncertain. One that let go acts only on what is this IP's still. Answers appended.
local function replay(keys, argv)
  local p = keys[1]
  local host, ip = argv[1], argv[2]
  local appended = 0
  local at = 4
  for _ = 1, tonumber(argv[3]) do
    local num, serial, outcome, let_go = unpack(argv, at, at + 3)
    at = at + 4
    local r = read_state(p, num)
    local s = tonumber(serial)
    if r and s > r.f and s >= r.n and s <= r.n + FORGOTTEN and (let_go ~= '1' or r.s == 'd' and r.i == ip) then
      drop_entry(p, r)
      append_outcome(p, host, num, serial, outcome)
      appended = appended + 1
    end
  end
  return appended
end

-- claim: what a worker holds when it meets a run of Redis that may have lost its dispatch; the supervisor asks for it. ARGV IP, count, then per message:
-- entry, num, serial, stage (0 waiting, 1 under way, 2 at its dot). Answers per message 1 when it is this worker's to end, 0 when it must not begin
-- nor come to its dot. What is under way becomes the worker's again, wherever it waits, and at its dot from whoever has an older attempt; since no
-- stream holds its entry, hash `claims` does until it ends: num → `<IP> <entry> <serial>`. What is not under way goes by the queue. A
-- message that Redis has forgotten was accepted all the same: who has it sends it.
local function claim(keys, argv)
  local p = keys[1]
  local ip = argv[1]
  local answers = {}
  local at = 3
  for _ = 1, tonumber(argv[2]) do
    local entry, num, serial, stage = unpack(argv, at, at + 3)
    at = at + 4
    local r = read_state(p, num)
    local s = tonumber(serial)
    local ours = 0
    if not r or r.s == 'd' and r.n == s and r.e == entry then
      ours = 1
    elseif stage ~= '0' and s > r.f and s <= r.n + FORGOTTEN and (r.s ~= 'd' and s >= r.n or stage == '2' and s > r.n) then
      drop_entry(p, r)
      redis.call('HSET', message_key(p, num), 's', 'd', 'n', serial, 'i', ip, 'e', entry)
      redis.call('HSET', p .. NAME.claims, num, ip .. ' ' .. entry .. ' ' .. serial)
      ours = 1
    end
    answers[#answers + 1] = ours
  end
  return answers
end

-- An outcome that is to be reduced: one that the host appended closed its serial then; a worker's stands only for the message that its IP has out by
-- this very entry.
local function is_open(r, serial, ip, entry)
  if not r or r.n ~= tonumber(serial) then return false end
  if ip == '' then return r.s == 's' end
  return r.s == 'd' and r.e == entry and r.i == ip
end

-- records: what the reducer needs of messages. ARGV per outcome: num, serial, IP and entry ('' = the host's own). Answers per outcome record,
-- deferrals, crash marks, group; empty when the outcome stands for nothing.
local function records(keys, argv)
  local p = keys[1]
  local rows = {}
  for index = 1, #argv, 4 do
    local num, serial, ip, entry = unpack(argv, index, index + 3)
    local r = read_state(p, num)
    local row = {}
    if is_open(r, serial, ip, entry) then
      local v = redis.call('HMGET', record_key(p, num), 'm', 'g')
      if v[1] then row = { v[1], r.r, r.k, v[2] } end
    end
    rows[#rows + 1] = row
  end
  return rows
end

-- migrate: format 1 had both hashes in one. ARGV cursor. Answers the next cursor; at the end the format is 2. The state is written anew,
-- since a hash that lost its large fields keeps their form: memory must not grow.
local function migrate(keys, argv)
  local p = keys[1]
  local own = { m = true, c = true, g = true, o = true, z = true, x = true, d = true, t = true }
  local start = #(p .. NAME.message)
  local answer = redis.call('SCAN', argv[1], 'MATCH', p .. NAME.message .. '*', 'COUNT', 500)
  for _, key in ipairs(answer[2]) do
    if redis.call('HEXISTS', key, 'm') == 1 then
      local all = redis.call('HGETALL', key)
      local record, state = {}, {}
      for index = 1, #all, 2 do
        local row = own[all[index]] and record or state
        row[#row + 1] = all[index]
        row[#row + 1] = all[index + 1]
      end
      redis.call('DEL', key)
      redis.call('HSET', record_key(p, string.sub(key, start + 1)), unpack(record))
      redis.call('HSET', key, unpack(state))
    end
  end
  if answer[1] == '0' then redis.call('SET', p .. ':format', 2) end
  return answer[1]
end

-- The end of what was claimed.
local function unclaim(p, num, ip, entry, serial)
  if redis.call('HGET', p .. NAME.claims, num) == ip .. ' ' .. entry .. ' ' .. serial then redis.call('HDEL', p .. NAME.claims, num) end
end

-- A worker may write an id that no later one can follow: with its row the stream goes, so that it begins anew.
local function reset_when_ahead(said, id)
  if tonumber(string.match(id, '^%d+')) > tonumber(redis.call('TIME')[1]) * 1000 + 7200000 and redis.call('XLEN', said) == 0 then
    redis.call('DEL', said)
  end
end

-- effects: ARGV host, id up to which `done` may be trimmed ('' = not), count, then per outcome: outcome id, IP, entry and journal position ('' = the
-- host's own; no position), num, serial, op (final, keep, retry, queue, hold, move), argument (final: 1 = a breaker's probe was none; keep: until; retry: due; queue: crash marks to add; hold: reason;
-- move: another group), done record ('' = none), suppression scope, address and row ('' = none). Then the number of policy
-- rows, and per row its field and text ('' = gone): what was learnt from these outcomes stands or falls with them.
-- The outcome's removal is the fence: what was removed before does nothing. Answers done ids ('' where none), heads.
local function effects(keys, argv)
  local p = keys[1]
  local host, trim = argv[1], argv[2]
  local touched = {}
  local ids = {}
  local at = 4
  local done, own = p .. NAME.done .. host, p .. NAME.outcomes .. host
  local claimed = redis.call('EXISTS', p .. NAME.claims) == 1
  for _ = 1, tonumber(argv[3]) do
    local out, ip, entry, position, num, serial, op, argument, record, scope, address, row = unpack(argv, at, at + 11)
    at = at + 12
    local id = ''
    local said = ip == '' and own or own .. ':' .. ip
    if redis.call('XDEL', said, out) == 1 then
      if ip ~= '' then reset_when_ahead(said, out) end
      if position ~= '' then redis.call('HSET', p .. NAME.journal, host .. ' ' .. ip, position) end
      if claimed and ip ~= '' then unclaim(p, num, ip, entry, serial) end
      local r = read(p, num)
      if is_open(r, serial, ip, entry) then
        local key = message_key(p, num)
        if ip ~= '' and op ~= 'final' then redis.call('HSET', key, 'f', serial) end
        if record ~= '' then id = redis.call('XADD', done, '*', 'n', num, 'a', serial, 'd', record) end
        if scope ~= '' then suppress(p, scope, address, row) end
        if op == 'final' then
          if argument == '1' then uncount(p, num, r.t, 'bp:') end
          release(p, num, r.c)
        elseif op == 'keep' then
          uncount(p, num, r.t, 'bp:')
          redis.call('HSET', key, 's', 'u')
          redis.call('ZADD', p .. NAME.expiry, argument, num)
        elseif op == 'retry' then
          uncount(p, num, r.t)
          redis.call('HSET', key, 's', 'w')
          redis.call('HSET', key, 'r', r.r + 1)
          redis.call('ZADD', p .. NAME.due, argument, num)
        elseif op == 'queue' then
          uncount(p, num, r.t)
          if argument ~= '0' then redis.call('HSET', key, 'k', r.k + tonumber(argument)) end
          enqueue(p, touched, num, r.g, r.o, r.z)
        elseif op == 'move' then
          uncount(p, num, r.t)
          redis.call('HSET', record_key(p, num), 'g', argument)
          enqueue(p, touched, num, argument, r.o, r.z)
        elseif op == 'hold' then
          uncount(p, num, r.t)
          redis.call('HSET', key, 's', 'h')
          redis.call('HSET', p .. NAME.held, num, '0 ' .. argument)
        end
      end
    end
    ids[#ids + 1] = id
  end
  for index = at + 1, at + 2 * tonumber(argv[at]), 2 do
    if argv[index + 1] == '' then
      redis.call('HDEL', p .. NAME.policy, argv[index])
    else
      redis.call('HSET', p .. NAME.policy, argv[index], argv[index + 1])
    end
  end
  if trim ~= '' then redis.call('XTRIM', done, 'MINID', trim) end
  return { ids, refresh(p, host, touched) }
end

-- feedback: what came back of one message after its server had taken it. ARGV host, num, kind, ms for which it is remembered,
-- done record, suppression scope, address and row ('' = none), number of policy rows, and per row its field and text ('' = gone).
-- The memory is the fence: told again it does nothing. Answers the done id, '' when it was told before.
local function feedback(keys, argv)
  local p = keys[1]
  local host, num, kind, life, record, scope, address, row = unpack(argv, 1, 8)
  if not redis.call('SET', p .. NAME.feedback .. num .. ':' .. kind, '1', 'NX', 'PX', life) then return '' end
  local id = redis.call('XADD', p .. NAME.done .. host, '*', 'n', num, 'a', '0', 'd', record)
  if scope ~= '' then suppress(p, scope, address, row) end
  for index = 10, 9 + 2 * tonumber(argv[9]), 2 do
    if argv[index + 1] == '' then
      redis.call('HDEL', p .. NAME.policy, argv[index])
    else
      redis.call('HSET', p .. NAME.policy, argv[index], argv[index + 1])
    end
  end
  return id
end

-- leave: somebody leaves a list; row and event stand or fall together. ARGV host, organisation, address LF list, now, message id,
-- done record. Who had left before is not told of again, but is known to have asked now: see rejoin. (A row whose second word is
-- `untold` is an earlier version's, which wrote the event apart.) Answers the done id, '' when they had left before.
local function leave(keys, argv)
  local p = keys[1]
  local host, org, field, now, message_id, record = unpack(argv, 1, 6)
  local key = p .. NAME.unsubscribed .. org
  local since, last, first_id = string.match(redis.call('HGET', key, field) or '', '^(%d+) (%S+) (.*)$')
  if since and last ~= 'untold' then
    redis.call('HSET', key, field, since .. ' ' .. now .. ' ' .. first_id)
    return ''
  end
  redis.call('HSET', key, field, now .. ' ' .. now .. ' ' .. message_id)
  return redis.call('XADD', p .. NAME.done .. host, '*', 'n', '0', 'a', '0', 'd', record)
end

-- rejoin: takes the row away, unless they asked to leave after `before` (ms; '' = whenever). ARGV organisation, address LF list,
-- before. Answers 1 when it was taken away.
local function rejoin(keys, argv)
  local key = keys[1] .. NAME.unsubscribed .. argv[1]
  local row = redis.call('HGET', key, argv[2])
  if not row then return 0 end
  local since, last = string.match(row, '^(%d+) (%S+)')
  local asked = tonumber(last) or tonumber(since) or 0
  if argv[3] ~= '' and asked > tonumber(argv[3]) then return 0 end
  return redis.call('HDEL', key, argv[2])
end

-- ready: moves due messages to their queues. ARGV host, now, limit. Answers moved, next due time or '', heads.
local function ready(keys, argv)
  local p = keys[1]
  local due = p .. NAME.due
  local touched = {}
  local nums = redis.call('ZRANGE', due, '-inf', argv[2], 'BYSCORE', 'LIMIT', 0, argv[3])
  for _, num in ipairs(nums) do
    redis.call('ZREM', due, num)
    local r = read(p, num)
    if r and r.s == 'w' then enqueue(p, touched, num, r.g, r.o, r.z) end
  end
  local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
  return { #nums, first[2] or '', refresh(p, argv[1], touched) }
end

local function conclude_one(p, touched, host, num, outcome)
  local r = read(p, num)
  if not r or not take(p, touched, num, r) then return false end
  append_outcome(p, host, num, r.n, outcome)
  return true
end

-- conclude: ends messages that have no attempt. ARGV host, outcome, then nums. Answers concluded, heads.
local function conclude(keys, argv)
  local p = keys[1]
  local touched = {}
  local count = 0
  for index = 3, #argv do
    if conclude_one(p, touched, argv[1], argv[index], argv[2]) then count = count + 1 end
  end
  return { count, refresh(p, argv[1], touched) }
end

-- conclude_part: the same for up to n heads of one part. ARGV host, outcome, part, n.
local function conclude_part(keys, argv)
  local p = keys[1]
  local touched = {}
  local count = 0
  for _, num in ipairs(redis.call('ZRANGE', queue_key(p, argv[3]), 0, tonumber(argv[4]) - 1)) do
    if conclude_one(p, touched, argv[1], num, argv[2]) then
      count = count + 1
    else
      redis.call('ZREM', queue_key(p, argv[3]), num)
    end
  end
  touched[argv[3]] = true
  return { count, refresh(p, argv[1], touched) }
end

-- Out at a worker whose stream no longer has it, long after its time: nobody will say what came of it. What that IP has said to
-- any host must be reduced before: one that was away may not have heard it yet. Those that do not own the IP are waited for a day.
local function is_abandoned(p, num, r, host, now)
  local expired = tonumber(redis.call('HGET', record_key(p, num), 'x') or 0)
  if r.s ~= 'd' or expired + 3600000 > now then return false end
  if #redis.call('XRANGE', p .. NAME.ip .. r.i, r.e, r.e) > 0 or redis.call('HEXISTS', p .. NAME.claims, num) == 1 then return false end
  local hosts = { host, redis.call('HGET', p .. NAME.owners, r.i) or host }
  if expired + 90000000 > now then
    for _, name in ipairs(redis.call('SMEMBERS', p .. NAME.hosts)) do hosts[#hosts + 1] = name end
  end
  for _, name in ipairs(hosts) do
    if redis.call('XLEN', p .. NAME.outcomes .. name .. ':' .. r.i) > 0 then return false end
  end
  return true
end

-- expire: concludes what is past its time, behind whatever gate; frees what was kept as uncertain. A message in a
-- worker's hands is looked at again after a minute. ARGV host, now, limit, outcome. Answers looked at, heads.
local function expire(keys, argv)
  local p = keys[1]
  local host, now = argv[1], argv[2]
  local expiry = p .. NAME.expiry
  local touched = {}
  local nums = redis.call('ZRANGE', expiry, '-inf', now, 'BYSCORE', 'LIMIT', 0, argv[3])
  for _, num in ipairs(nums) do
    local r = read(p, num)
    if not r then
      redis.call('ZREM', expiry, num)
    elseif r.s == 'u' then
      release(p, num, r.c)
    elseif conclude_one(p, touched, host, num, argv[4]) then
      redis.call('ZREM', expiry, num)
    elseif is_abandoned(p, num, r, host, tonumber(now)) then
      append_outcome(p, host, num, r.n, argv[4])
      redis.call('ZREM', expiry, num)
    else
      redis.call('ZADD', expiry, tonumber(now) + 60000, num)
    end
  end
  return { #nums, refresh(p, host, touched) }
end

-- hold: keeps messages back under a reason, from wherever they wait; called in slices of at most 500. A held row is the time
-- at which it would be due, or 0, and the reason. ARGV host, reason, nums. Answers held, heads.
local function hold(keys, argv)
  local p = keys[1]
  local touched = {}
  local count = 0
  for index = 3, #argv do
    local num = argv[index]
    local r = read(p, num)
    local due = '0'
    if r and r.s == 'w' then
      due = redis.call('ZSCORE', p .. NAME.due, num) or '0'
    elseif r and r.s == 'h' then
      due = string.match(redis.call('HGET', p .. NAME.held, num) or '0', '^%d+')
    end
    if r and take(p, touched, num, r) then
      redis.call('HSET', message_key(p, num), 's', 'h')
      redis.call('HSET', p .. NAME.held, num, due .. ' ' .. argv[2])
      count = count + 1
    end
  end
  return { count, refresh(p, argv[1], touched) }
end

-- unhold: back to their queues, or to wait until they are due. ARGV host, now, nums. Answers released, heads.
local function unhold(keys, argv)
  local p = keys[1]
  local touched = {}
  local count = 0
  for index = 3, #argv do
    local num = argv[index]
    local r = read(p, num)
    if r and r.s == 'h' then
      local due = tonumber(string.match(redis.call('HGET', p .. NAME.held, num) or '0', '^%d+'))
      redis.call('HDEL', p .. NAME.held, num)
      if due > tonumber(argv[2]) then
        redis.call('HSET', message_key(p, num), 's', 'w')
        redis.call('ZADD', p .. NAME.due, due, num)
      else
        enqueue(p, touched, num, r.g, r.o, r.z)
      end
      count = count + 1
    else
      redis.call('HDEL', p .. NAME.held, num)
    end
  end
  return { count, refresh(p, argv[1], touched) }
end

-- hurry: what waits to be due goes to its queue now. ARGV host, nums. Answers moved, heads.
local function hurry(keys, argv)
  local p = keys[1]
  local touched = {}
  local count = 0
  for index = 2, #argv do
    local num = argv[index]
    local r = read(p, num)
    if r and r.s == 'w' and redis.call('ZREM', p .. NAME.due, num) == 1 then
      enqueue(p, touched, num, r.g, r.o, r.z)
      count = count + 1
    end
  end
  return { count, refresh(p, argv[1], touched) }
end

-- resend: uncertain messages become due at once; what goes out then is a new attempt, with a serial of its own. ARGV now,
-- nums. Answers how many were uncertain.
local function resend(keys, argv)
  local p = keys[1]
  local count = 0
  for index = 2, #argv do
    local num = argv[index]
    local r = read(p, num)
    if r and r.s == 'u' then
      redis.call('HSET', message_key(p, num), 's', 'w')
      redis.call('HDEL', record_key(p, num), 't')
      redis.call('ZADD', p .. NAME.due, argv[1], num)
      count = count + 1
    end
  end
  return count
end

-- drop: ends uncertain messages. ARGV host, outcome, nums. Answers how many were uncertain.
local function drop(keys, argv)
  local p = keys[1]
  local count = 0
  for index = 3, #argv do
    local num = argv[index]
    local r = read(p, num)
    if r and r.s == 'u' then
      append_outcome(p, argv[1], num, r.n, argv[2])
      count = count + 1
    end
  end
  return count
end

-- peek: what messages are and where, for people. ARGV nums. Answers per message its number, state, group, organisation,
-- score, deferrals, record, due time or ''; those that are gone are left out.
local function peek(keys, argv)
  local p = keys[1]
  local rows = {}
  for index = 1, #argv do
    local num = argv[index]
    local w = redis.call('HMGET', message_key(p, num), 's', 'r')
    local v = redis.call('HMGET', record_key(p, num), 'g', 'o', 'z', 'm')
    if w[1] and v[1] then
      local due = w[1] == 'w' and redis.call('ZSCORE', p .. NAME.due, num) or ''
      rows[#rows + 1] = { num, w[1], v[1], v[2], v[3], w[2] or '0', v[4], due }
    end
  end
  return rows
end

-- sessions: hosts' parts of the sessions that a provider allows all IPs together, hash `conn:<lane key>`: host → `<until ms>
-- <held> <wanted> <wanted since ms>`. A host that says nothing for the lease has none. ARGV host, lease (ms), number of keys, then per key: its
-- name, limit, held, wanted more. Answers per key granted, and what other hosts want and have not got; those that have wanted longer come first.
local function sessions(keys, argv)
  local p = keys[1]
  local host, lease = argv[1], tonumber(argv[2])
  local now = now_ms()
  local answers = {}
  local at = 4
  for _ = 1, tonumber(argv[3]) do
    local key = p .. NAME.sessions .. argv[at]
    local limit, held, wanted = tonumber(argv[at + 1]), tonumber(argv[at + 2]), tonumber(argv[at + 3])
    at = at + 4
    local since = now
    local others, before, elsewhere = 0, 0, 0
    local own = redis.call('HGET', key, host)
    if own then
      local untl, _, wants, from = string.match(own, '^(%d+) (%d+) (%d+) (%d+)$')
      if untl and tonumber(untl) > now and tonumber(wants) > 0 then since = tonumber(from) end
    end
    local rows = redis.call('HGETALL', key)
    for index = 1, #rows, 2 do
      if rows[index] ~= host then
        local untl, has, wants, from = string.match(rows[index + 1], '^(%d+) (%d+) (%d+) (%d+)$')
        if untl and tonumber(untl) > now then
          others = others + tonumber(has)
          elsewhere = elsewhere + tonumber(wants)
          if tonumber(from) < since then before = before + tonumber(wants) end
        else
          redis.call('HDEL', key, rows[index])
        end
      end
    end
    local granted = math.max(0, math.min(wanted, limit - others - held - before))
    if held + wanted == 0 then
      redis.call('HDEL', key, host)
    else
      redis.call('HSET', key, host, string.format('%d %d %d %d', now + lease, held + granted, wanted - granted, since))
      if redis.call('PTTL', key) < 0 then
        redis.call('PEXPIRE', key, lease)
      else
        redis.call('PEXPIRE', key, lease, 'GT')
      end
    end
    answers[#answers + 1] = { granted, elsewhere }
  end
  return answers
end

-- names: the table of key names, for the test that compares it with RedisKeys.swift.
-- KEYS[1] is the table: a row of what is configured, changed from what was read (argv 2) to what stands in argv 3; 0 when it is another by now.
local function swap(keys, argv)
  if (redis.call('HGET', keys[1], argv[1]) or '') ~= argv[2] then return 0 end
  if argv[3] == '' then redis.call('HDEL', keys[1], argv[1]) else redis.call('HSET', keys[1], argv[1], argv[3]) end
  return 1
end

local function names()
  local list = {}
  for name, suffix in pairs(NAME) do
    list[#list + 1] = name
    list[#list + 1] = suffix
  end
  return list
end

-- Only accept obeys maxmemory: what drains the queue must run when Redis is full.
redis.register_function('mta1_accept', accept)
local flags = { 'allow-oom' }
redis.register_function { function_name = 'mta1_dispatch', callback = dispatch, flags = flags }
redis.register_function { function_name = 'mta1_settle', callback = settle, flags = flags }
redis.register_function { function_name = 'mta1_replay', callback = replay, flags = flags }
redis.register_function { function_name = 'mta1_claim', callback = claim, flags = flags }
redis.register_function { function_name = 'mta1_effects', callback = effects, flags = flags }
redis.register_function { function_name = 'mta1_feedback', callback = feedback, flags = flags }
redis.register_function { function_name = 'mta1_leave', callback = leave, flags = flags }
redis.register_function { function_name = 'mta1_rejoin', callback = rejoin, flags = flags }
redis.register_function { function_name = 'mta1_ready', callback = ready, flags = flags }
redis.register_function { function_name = 'mta1_conclude', callback = conclude, flags = flags }
redis.register_function { function_name = 'mta1_conclude_part', callback = conclude_part, flags = flags }
redis.register_function { function_name = 'mta1_expire', callback = expire, flags = flags }
redis.register_function { function_name = 'mta1_hold', callback = hold, flags = flags }
redis.register_function { function_name = 'mta1_unhold', callback = unhold, flags = flags }
redis.register_function { function_name = 'mta1_hurry', callback = hurry, flags = flags }
redis.register_function { function_name = 'mta1_resend', callback = resend, flags = flags }
redis.register_function { function_name = 'mta1_drop', callback = drop, flags = flags }
redis.register_function { function_name = 'mta1_sessions', callback = sessions, flags = flags }
redis.register_function { function_name = 'mta1_peek', callback = peek, flags = { 'no-writes' } }
redis.register_function { function_name = 'mta1_records', callback = records, flags = { 'no-writes' } }
redis.register_function { function_name = 'mta1_migrate', callback = migrate, flags = flags }
redis.register_function { function_name = 'mta1_swap', callback = swap, flags = flags }
redis.register_function { function_name = 'mta1_names', callback = names, flags = { 'no-writes' } }
