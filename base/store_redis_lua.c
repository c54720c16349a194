/*
 * What the Redis store has its server do: Lua, run as one step. Keys that
 * follow from what is stored are made in the scripts, so they need one
 * server, not a Redis Cluster.
 */
#include "base/store_redis_internal.h"

/*
 * A revision: the wall clock's microseconds, or one more than the last. So
 * it grows on over a store that was emptied or lost its last writes. Numbers
 * are doubles here: whole up to 2^53, which the year 2255 needs.
 */
#define LUA_REV                                                                \
    "local function next_rev()\n"                                              \
    "  local t = redis.call('TIME')\n"                                         \
    "  local now = tonumber(t[1]) * 1000000 + tonumber(t[2])\n"                \
    "  local last = tonumber(redis.call('GET', 'podterm:rev') or '0')\n"       \
    "  local rev = string.format('%.0f', now > last and now or last + 1)\n"    \
    "  redis.call('SET', 'podterm:rev', rev)\n"                                \
    "  return rev\n"                                                           \
    "end\n"

/* A row that is not there is written; ended_ms '' = it lives. */
#define LUA_ADD                                                                \
    "local function add(id, row, created, ended, owner)\n"                     \
    "  local rev = next_rev()\n"                                               \
    "  redis.call('HSET', 'podterm:s:' .. id, 'row', row, 'rev', rev,\n"       \
    "             'owner', owner)\n"                                           \
    "  redis.call('ZADD', 'podterm:revs', rev, id)\n"                          \
    "  redis.call('ZADD', 'podterm:all', created, id)\n"                       \
    "  redis.call('ZADD', 'podterm:o:' .. owner, created, id)\n"               \
    "  if ended == '' then\n"                                                  \
    "    redis.call('ZADD', 'podterm:live', created, id)\n"                    \
    "    redis.call('ZADD', 'podterm:ol:' .. owner, created, id)\n"            \
    "  else\n"                                                                 \
    "    redis.call('ZADD', 'podterm:ended', ended, id)\n"                     \
    "  end\n"                                                                  \
    "  return rev\n"                                                           \
    "end\n"

/*
 * id, row, created_ms, owner, quota, key ('' = none), body's hash, now_s,
 * the record's life in s, launch blob ('' = none)
 * gives {'created', rev}, {'replayed', row, rev, id}, {'conflict'} or
 * {'quota', live}. Of a row that is there the first answer was lost.
 */
const char store_redis_lua_create[] = LUA_REV LUA_ADD
    "local id, row, created, owner = ARGV[1], ARGV[2], ARGV[3], ARGV[4]\n"
    "local quota, key, hash, now = ARGV[5], ARGV[6], ARGV[7], ARGV[8]\n"
    "local life, launch = ARGV[9], ARGV[10]\n"
    "local there = redis.call('HGET', 'podterm:s:' .. id, 'rev')\n"
    "if there then return {'created', there} end\n"
    "local record = 'podterm:k:' .. owner .. ':' .. key\n"
    "if key ~= '' then\n"
    "  local k = redis.call('HMGET', record, 'hash', 'sid', 'until')\n"
    "  if k[1] and tonumber(k[3]) > tonumber(now) then\n"
    "    if k[1] ~= hash then return {'conflict'} end\n"
    "    local s = redis.call('HMGET', 'podterm:s:' .. k[2], 'row', 'rev')\n"
    "    if s[1] then return {'replayed', s[1], s[2], k[2]} end\n"
    "  end\n"
    "end\n"
    "local live = redis.call('ZCARD', 'podterm:ol:' .. owner)\n"
    "if live >= tonumber(quota) then return {'quota', live} end\n"
    "local rev = add(id, row, created, '', owner)\n"
    "if key ~= '' then\n"
    "  redis.call('HSET', record, 'hash', hash, 'sid', id, 'until',\n"
    "             string.format('%.0f', tonumber(now) + tonumber(life)))\n"
    "  redis.call('EXPIRE', record, life)\n"
    "end\n"
    "if launch ~= '' then redis.call('SET', 'podterm:l:' .. id, launch) end\n"
    "return {'created', rev}\n";

/* id, row, created_ms, owner, ended_ms ('' = it lives); gives rev, or nil
 * where there is a row */
const char store_redis_lua_restore[] = LUA_REV LUA_ADD
    "if redis.call('EXISTS', 'podterm:s:' .. ARGV[1]) == 1 then\n"
    "  return false\n"
    "end\n"
    "return add(ARGV[1], ARGV[2], ARGV[3], ARGV[5], ARGV[4])\n";

/* id, the rev that was read, row, ended_ms ('' = it lives); gives the new
 * rev, 'changed' by another, or nil without a row */
const char store_redis_lua_update[] =
    LUA_REV "local id, ended = ARGV[1], ARGV[4]\n"
            "local s = 'podterm:s:' .. id\n"
            "local there = redis.call('HMGET', s, 'rev', 'owner')\n"
            "if not there[1] then return false end\n"
            "if there[1] ~= ARGV[2] then return 'changed' end\n"
            "local rev = next_rev()\n"
            "redis.call('HSET', s, 'row', ARGV[3], 'rev', rev)\n"
            "redis.call('ZADD', 'podterm:revs', rev, id)\n"
            "if ended ~= '' then\n"
            "  redis.call('ZREM', 'podterm:live', id)\n"
            "  redis.call('ZREM', 'podterm:ol:' .. there[2], id)\n"
            "  redis.call('ZADD', 'podterm:ended', ended, id)\n"
            "  redis.call('DEL', 'podterm:l:' .. id)\n"
            "end\n"
            "return rev\n";

/* the set's name, how many, created_ms and id of the last row given ('' =
 * from the newest); gives row, rev, id, created_ms of each. Ids of one creation time
 * come from the highest down; they are compared by byte, not by the
 * server's locale. */
const char store_redis_lua_list[] =
    "local function is_below(a, b)\n"
    "  for i = 1, math.min(#a, #b) do\n"
    "    local x, y = a:byte(i), b:byte(i)\n"
    "    if x ~= y then return x < y end\n"
    "  end\n"
    "  return #a < #b\n"
    "end\n"
    "local set, want, from, behind = 'podterm:' .. ARGV[1],\n"
    "  tonumber(ARGV[2]), ARGV[3], ARGV[4]\n"
    "local out, at, step = {}, 0, 128\n"
    "local max = from == '' and '+inf' or from\n"
    "while #out < 4 * want do\n"
    "  local ids = redis.call('ZREVRANGEBYSCORE', set, max, '-inf',\n"
    "                         'WITHSCORES', 'LIMIT', at, step)\n"
    "  for i = 1, #ids, 2 do\n"
    "    if #out < 4 * want and (from == '' or ids[i + 1] ~= from or\n"
    "                            is_below(ids[i], behind)) then\n"
    "      local s = redis.call('HMGET', 'podterm:s:' .. ids[i],\n"
    "                           'row', 'rev')\n"
    "      if s[1] then\n"
    "        out[#out + 1] = s[1]\n"
    "        out[#out + 1] = s[2]\n"
    "        out[#out + 1] = ids[i]\n"
    "        out[#out + 1] = ids[i + 1]\n"
    "      end\n"
    "    end\n"
    "  end\n"
    "  if #ids < 2 * step then break end\n"
    "  at = at + step\n"
    "end\n"
    "return out\n";

/* before_ms, how many at most; gives how many went */
const char store_redis_lua_prune[] =
    "local ids = redis.call('ZRANGEBYSCORE', 'podterm:ended', '-inf',\n"
    "                       '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])\n"
    "for _, id in ipairs(ids) do\n"
    "  local s = 'podterm:s:' .. id\n"
    "  local owner = redis.call('HGET', s, 'owner')\n"
    "  if owner then redis.call('ZREM', 'podterm:o:' .. owner, id) end\n"
    "  redis.call('ZREM', 'podterm:all', id)\n"
    "  redis.call('ZREM', 'podterm:revs', id)\n"
    "  redis.call('ZREM', 'podterm:ended', id)\n"
    "  redis.call('DEL', s, 'podterm:l:' .. id)\n"
    "end\n"
    "return #ids\n";

/* how many, for how many seconds; gives how many there are */
const char store_redis_lua_demand[] =
    "local list, want = 'podterm:demand', tonumber(ARGV[1])\n"
    "local more = {}\n"
    "for i = redis.call('LLEN', list) + 1, want do more[#more + 1] = '1' end\n"
    "if #more > 0 then redis.call('RPUSH', list, unpack(more)) end\n"
    "if want == 0 then redis.call('DEL', list)\n"
    "else\n"
    "  redis.call('LTRIM', list, 0, want - 1)\n"
    "  redis.call('EXPIRE', list, ARGV[2])\n"
    "end\n"
    "return redis.call('LLEN', list)\n";

/*
 * where to go on ('0' = from the start), bytes of the longest name, longest
 * life in s, how many keys to look at; gives where to go on ('0' = all were
 * seen) and how many went. DEL works in a Redis that is full.
 */
const char store_redis_lua_sweep[] =
    "local longest, life = tonumber(ARGV[2]), tonumber(ARGV[3])\n"
    "local seen = redis.call('SCAN', ARGV[1], 'MATCH', 'podterm:t:*',\n"
    "                        'COUNT', ARGV[4])\n"
    "local gone = 0\n"
    "for _, key in ipairs(seen[2]) do\n"
    "  local ttl = redis.call('TTL', key)\n"
    "  if #key > longest or ttl == -1 or ttl > life or\n"
    "     redis.pcall('STRLEN', key) ~= 1 then\n"
    "    gone = gone + redis.call('DEL', key)\n"
    "  end\n"
    "end\n"
    "return {seen[1], gone}\n";
