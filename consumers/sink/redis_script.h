/* The script that applies changes inside Redis: many a call, each checked against the version that is there, together with the offset.
 *
 * KEYS: the offsets hash, then the profile of each change. ARGV: cluster id, partition, the offset expected ("" for none), the offset
 * afterwards; then for each change field, value and version (negative: only an entry that is there is changed).
 * Gives the number of changes written, or the error OFFSET when the store is not where the caller thinks: it was wiped, restored from an
 * older copy, or somebody else has written; then nothing is changed.
 * The version that is there stands at the end of the value and is found by a plain match: nothing is decoded. Both are below
 * 2⁵³, which Lua's numbers hold exactly. */
#ifndef RC_SINK_REDIS_SCRIPT_H
#define RC_SINK_REDIS_SCRIPT_H

static const char rc_sink_redis_script[] =
    "local at = redis.call('HMGET', KEYS[1], 'cluster', ARGV[2])\n"
    "if (at[1] and at[1] ~= ARGV[1]) or (at[2] or '') ~= ARGV[3] then\n"
    "  return redis.error_reply('OFFSET the store is at ' .. (at[2] or 'none'))\n"
    "end\n"
    "local call, match, number = redis.call, string.match, tonumber\n"
    "local written, a = 0, 5\n"
    "for i = 2, #KEYS do\n"
    "  local field, version = ARGV[a], number(ARGV[a + 2])\n"
    "  local old = call('HGET', KEYS[i], field)\n"
    "  if old or version >= 0 then\n"
    "    if version < 0 then version = -version end\n"
    /* "version" never stands before the 60th character of a value. */
    "    local known = old and match(old, '\"version\":(%d+)}', 60)\n"
    "    if not known or number(known) < version then\n"
    "      call('HSET', KEYS[i], field, ARGV[a + 1])\n"
    "      written = written + 1\n"
    "    end\n"
    "  end\n"
    "  a = a + 3\n"
    "end\n"
    "call('HSET', KEYS[1], 'cluster', ARGV[1], ARGV[2], ARGV[4])\n"
    "return written\n";

#endif
