/* Owns the reading of TZif files (RFC 8536) and the question "which offset is in force at this instant, and until when".
 * Calendars and text stand in calendar.c.
 *
 * Must not know: locales, libc's process-wide zone, the present time.
 *
 * The mistake that it prevents: a table of transitions that ends in 2037 (or, in "slim" files, in 2007) taken for the end of
 * daylight saving. Instants past the last transition follow the POSIX rule in the file's footer, for ever. */
#include "base/timezone.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/nearest.h"
#include "base/timezone_zone.h"

#define MAX_FILE_BYTES (1 << 20)
#define MAX_NAME_BYTES 64
#define MAX_LIST_BYTES (1 << 20)
#define MAX_LISTED 4096
#define SECOND_MS INT64_C(1000)
#define DAY_S INT64_C(86400)
/* RFC 8536 allows offsets from -25 h to 26 h and the footer's times -167 h to 167 h; what lies outside is a damaged file. */
#define MAX_OFFSET_S (26 * 3600)
#define MAX_RULE_HOURS 167
#define TAIL_YEARS 3

/* When daylight saving begins or ends in a year, in local time before the change. */
struct rule {
    enum { RULE_MONTH_WEEK, RULE_JULIAN, RULE_DAY } form; /* Mm.w.d; Jn (no leap days, 1–365); n (0–365) */
    int month, week, weekday, day;
    int64_t time_s;
};

/* What the footer says. */
struct tail {
    bool present, has_dst;
    int64_t std_s, dst_s; /* offsets, local = UTC + offset */
    struct rule start, end;
};

struct rc_timezone {
    char *name;
    size_t n;
    int64_t *at_s;     /* instants of the transitions, ascending */
    int64_t *offset_s; /* offset_s[i] is in force from at_s[i] on */
    int64_t first_s;   /* offset before the first transition */
    struct tail tail;
    struct rc_timezone *next;
};

/* ---- bytes ----------------------------------------------------------------------------------------------------------- */

static uint32_t be32(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t be64(const unsigned char *p) {
    return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

struct header {
    int version; /* 1, 2, … */
    size_t n_utc, n_std, n_leap, n_times, n_types, n_chars;
};

#define HEADER_BYTES 44

static bool read_header(const unsigned char *p, size_t len, struct header *out) {
    if (len < HEADER_BYTES || memcmp(p, "TZif", 4) != 0)
        return false;
    *out = (struct header){.version = p[4] ? p[4] - '0' : 1,
                           .n_utc = be32(p + 20),
                           .n_std = be32(p + 24),
                           .n_leap = be32(p + 28),
                           .n_times = be32(p + 32),
                           .n_types = be32(p + 36),
                           .n_chars = be32(p + 40)};
    /* The file is at most 1 MiB: counts past that cannot be true, and would overflow the sums below. */
    return out->n_utc <= MAX_FILE_BYTES && out->n_std <= MAX_FILE_BYTES && out->n_leap <= MAX_FILE_BYTES &&
           out->n_times <= MAX_FILE_BYTES && out->n_types <= 256 && out->n_chars <= MAX_FILE_BYTES && out->n_types > 0;
}

static size_t body_bytes(const struct header *h, size_t time_bytes) {
    return h->n_times * (time_bytes + 1) + h->n_types * 6 + h->n_chars + h->n_leap * (time_bytes + 4) + h->n_std +
           h->n_utc;
}

static bool read_body(const unsigned char *p, const struct header *h, size_t time_bytes, struct rc_timezone *zone) {
    const unsigned char *types_of = p + h->n_times * time_bytes, *types = types_of + h->n_times;
    if (h->n_leap) /* the "right/" zones count leap seconds, which POSIX time and Kafka do not have */
        return false;
    zone->n = h->n_times;
    zone->at_s = rc_calloc(zone->n + 1, sizeof *zone->at_s);
    zone->offset_s = rc_calloc(zone->n + 1, sizeof *zone->offset_s);
    for (size_t i = 0; i < h->n_types; i++)
        if (labs((long)(int32_t)be32(types + i * 6)) > MAX_OFFSET_S)
            return false;
    zone->first_s = (int32_t)be32(types);
    for (size_t i = 0; i < zone->n; i++) {
        zone->at_s[i] = time_bytes == 8 ? be64(p + i * 8) : (int32_t)be32(p + i * 4);
        if (types_of[i] >= h->n_types || (i && zone->at_s[i] <= zone->at_s[i - 1]))
            return false;
        zone->offset_s[i] = (int32_t)be32(types + types_of[i] * 6);
    }
    return true;
}

/* ---- the footer: a POSIX TZ rule ------------------------------------------------------------------------------------- */

static bool take_number(const char **p, int64_t max, int64_t *out) {
    int64_t n = 0;
    const char *start = *p;
    for (; **p >= '0' && **p <= '9'; ++*p) {
        n = n * 10 + (**p - '0');
        if (n > max)
            return false;
    }
    *out = n;
    return *p != start;
}

/* [+-]hh[:mm[:ss]] in seconds. */
static bool take_time(const char **p, int64_t max_hours, int64_t *out) {
    int64_t sign = 1, h = 0, m = 0, s = 0;
    if (**p == '+' || **p == '-')
        sign = *(*p)++ == '-' ? -1 : 1;
    if (!take_number(p, max_hours, &h))
        return false;
    if (**p == ':' && (++*p, !take_number(p, 59, &m)))
        return false;
    if (**p == ':' && (++*p, !take_number(p, 59, &s)))
        return false;
    *out = sign * (h * 3600 + m * 60 + s);
    return true;
}

static bool take_abbreviation(const char **p) {
    const char *start = *p;
    if (**p == '<') {
        const char *end = strchr(*p, '>');
        if (!end)
            return false;
        *p = end + 1;
        return true;
    }
    while ((**p >= 'A' && **p <= 'Z') || (**p >= 'a' && **p <= 'z'))
        ++*p;
    return *p - start >= 3;
}

static bool take_rule(const char **p, struct rule *out) {
    struct rule r = {.time_s = 2 * 3600};
    int64_t a = 0, b = 0, c = 0;
    if (*(*p)++ != ',')
        return false;
    if (**p == 'M') {
        ++*p;
        if (!take_number(p, 12, &a) || *(*p)++ != '.' || !take_number(p, 5, &b) || *(*p)++ != '.' ||
            !take_number(p, 6, &c))
            return false;
        if (a < 1 || b < 1)
            return false;
        r.form = RULE_MONTH_WEEK;
        r.month = (int)a, r.week = (int)b, r.weekday = (int)c;
    } else if (**p == 'J') {
        ++*p;
        if (!take_number(p, 365, &a) || a < 1)
            return false;
        r.form = RULE_JULIAN, r.day = (int)a;
    } else {
        if (!take_number(p, 365, &a))
            return false;
        r.form = RULE_DAY, r.day = (int)a;
    }
    if (**p == '/' && (++*p, !take_time(p, MAX_RULE_HOURS, &r.time_s)))
        return false;
    *out = r;
    return true;
}

static bool parse_tail(const char *p, struct tail *out) {
    struct tail t = {.present = true};
    if (!take_abbreviation(&p) || !take_time(&p, 25, &t.std_s))
        return false;
    t.std_s = -t.std_s; /* POSIX counts west of Greenwich as positive */
    if (*p) {
        t.has_dst = true;
        if (!take_abbreviation(&p))
            return false;
        t.dst_s = t.std_s + 3600;
        if (*p != ',') {
            if (!take_time(&p, 25, &t.dst_s))
                return false;
            t.dst_s = -t.dst_s;
        }
        if (!take_rule(&p, &t.start) || !take_rule(&p, &t.end))
            return false;
    }
    *out = t;
    return *p == '\0';
}

static int64_t rule_day(const struct rule *r, int64_t year) {
    int64_t january1 = rc_days_from_civil(year, 1, 1);
    if (r->form == RULE_DAY)
        return january1 + r->day;
    if (r->form == RULE_JULIAN) {
        bool leap = rc_days_from_civil(year + 1, 1, 1) - january1 == 366;
        return january1 + r->day - 1 + (leap && r->day >= 60);
    }
    int64_t first = rc_days_from_civil(year, r->month, 1);
    int64_t next = r->month == 12 ? rc_days_from_civil(year + 1, 1, 1) : rc_days_from_civil(year, r->month + 1, 1);
    int64_t weekday = ((first + 4) % 7 + 7) % 7; /* 0 Sunday; day 0 was a Thursday */
    int64_t day = first + (r->weekday - weekday + 7) % 7 + (r->week - 1) * 7;
    return day >= next ? day - 7 : day; /* week 5 is the last one */
}

/* The offset in force at `at_s` after the footer, and the next instant at which the rule changes it (INT64_MAX: never). */
static int64_t tail_offset(const struct tail *t, int64_t at_s, int64_t *next_s) {
    *next_s = INT64_MAX;
    if (!t->has_dst)
        return t->std_s;
    int64_t year = rc_civil_from_days(rc_floor_div(at_s + t->std_s, DAY_S)).year;
    int64_t last_s = INT64_MIN, offset = t->std_s;
    for (int64_t y = year - 1; y < year - 1 + TAIL_YEARS; y++) {
        int64_t start = rule_day(&t->start, y) * DAY_S + t->start.time_s - t->std_s;
        int64_t end = rule_day(&t->end, y) * DAY_S + t->end.time_s - t->dst_s;
        /* Where both fall on one instant ("daylight saving all year") the start wins. */
        if (end <= at_s && end > last_s)
            last_s = end, offset = t->std_s;
        if (start <= at_s && start >= last_s)
            last_s = start, offset = t->dst_s;
        if (start > at_s && start < *next_s)
            *next_s = start;
        if (end > at_s && end < *next_s)
            *next_s = end;
    }
    return offset;
}

/* ---- loading --------------------------------------------------------------------------------------------------------- */

static bool parse_file(const unsigned char *p, size_t len, struct rc_timezone *zone) {
    struct header h;
    if (!read_header(p, len, &h))
        return false;
    size_t body = body_bytes(&h, 4);
    if (len - HEADER_BYTES < body)
        return false;
    if (h.version < 2)
        return read_body(p + HEADER_BYTES, &h, 4, zone);
    p += HEADER_BYTES + body, len -= HEADER_BYTES + body;
    if (!read_header(p, len, &h) || len - HEADER_BYTES < (body = body_bytes(&h, 8)) ||
        !read_body(p + HEADER_BYTES, &h, 8, zone))
        return false;
    p += HEADER_BYTES + body, len -= HEADER_BYTES + body;
    const unsigned char *end = len > 1 && *p == '\n' ? memchr(p + 1, '\n', len - 1) : NULL;
    if (!end)
        return false;
    if (end == p + 1) /* an empty rule: what the last transition said stays */
        return true;
    char *footer = rc_span_dup(rc_span_of(p + 1, (size_t)(end - p - 1)));
    bool ok = parse_tail(footer, &zone->tail);
    free(footer);
    return ok;
}

static void zone_free(struct rc_timezone *zone) {
    free(zone->name);
    free(zone->at_s);
    free(zone->offset_s);
    free(zone);
}

/* Letters, digits and _ + - in parts divided by single slashes: no dots, so no way out of the folder. */
static bool name_is_sound(const char *name) {
    size_t len = strlen(name);
    if (len == 0 || len > MAX_NAME_BYTES || name[0] == '/' || name[len - 1] == '/' || strstr(name, "//"))
        return false;
    return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/") == len;
}

static const char *zone_folder(void) {
    const char *folder = getenv("TZDIR");
    return folder && *folder ? folder : "/usr/share/zoneinfo";
}

/* Reads a whole file of at most `max` bytes; NULL when it cannot be read or is larger. Owned by the caller, NUL-terminated. */
static char *read_file(const char *folder, const char *name, size_t max, size_t *len) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return NULL;
    FILE *file = fopen(path, "rbe");
    if (!file)
        return NULL;
    char *bytes = rc_alloc(max + 2);
    *len = fread(bytes, 1, max + 1, file);
    bool ok = !ferror(file) && *len <= max;
    (void)fclose(file);
    if (!ok) {
        free(bytes);
        return NULL;
    }
    bytes[*len] = '\0';
    return bytes;
}

/* The known name nearest to `name`, from the zone list that tzdata ships; written to `out` (empty when there is none). */
static void nearest_name(const char *name, char *out, size_t size) {
    size_t len = 0, n = 0;
    char *list = read_file(zone_folder(), "tzdata.zi", MAX_LIST_BYTES, &len), *save = NULL;
    *out = '\0';
    if (!list)
        return;
    const char **names = rc_calloc(MAX_LISTED, sizeof *names);
    for (char *line = strtok_r(list, "\n", &save); line && n < MAX_LISTED; line = strtok_r(NULL, "\n", &save)) {
        /* "Z NAME rules…" and "L TARGET NAME" */
        char *word = line + 2;
        if (strncmp(line, "Z ", 2) != 0 && strncmp(line, "L ", 2) != 0)
            continue;
        if (line[0] == 'L') {
            word = strchr(word, ' ');
            if (!word)
                continue;
            word++;
        }
        word[strcspn(word, " ")] = '\0';
        names[n++] = word;
    }
    const char *nearest = rc_nearest_word(name, names, n);
    if (nearest)
        (void)snprintf(out, size, "%s", nearest);
    free(names);
    free(list);
}

static rc_status unknown(const char *name, const char *why, struct rc_error *err) {
    char nearest[MAX_NAME_BYTES + 1] = "";
    char shown[MAX_NAME_BYTES + 1];
    (void)snprintf(shown, sizeof shown, "%s", name);
    for (char *c = shown; *c; c++) /* a message is one line */
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    if (strlen(name) <= MAX_NAME_BYTES)
        nearest_name(name, nearest, sizeof nearest);
    return rc_error_set(err, RC_CLASS_POISON, RC_EXIT_DATA,
                        "unknown time zone \"%s\" (%s in %s), expected an IANA name like \"Europe/Stockholm\"%s%s%s",
                        shown, why, zone_folder(), *nearest ? "; did you mean \"" : "", nearest, *nearest ? "\"?" : "");
}

static rc_status zone_read(const char *name, struct rc_timezone **out, struct rc_error *err) {
    struct rc_timezone *zone = rc_calloc(1, sizeof *zone);
    zone->name = rc_strdup(name);
    if (strcmp(name, "UTC") == 0) { /* needs no file: the default must work on a machine without tzdata */
        *out = zone;
        return RC_OK;
    }
    size_t len = 0;
    char *bytes = read_file(zone_folder(), name, MAX_FILE_BYTES, &len);
    bool ok = bytes && parse_file((const unsigned char *)bytes, len, zone);
    rc_status status = RC_OK;
    if (ok)
        *out = zone;
    else {
        zone_free(zone);
        status = unknown(name, bytes ? "the file is no TZif file without leap seconds" : "no such file", err);
    }
    free(bytes);
    return status;
}

static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rc_timezone *cache; /* every zone ever loaded; bounded by the number of zone files */

rc_status rc_timezone_load(const char *name, const struct rc_timezone **out, struct rc_error *err) {
    if (!name_is_sound(name))
        return unknown(name, "not a name that can be", err);
    rc_status status = RC_OK;
    pthread_mutex_lock(&cache_lock);
    struct rc_timezone *zone = cache;
    while (zone && strcmp(zone->name, name) != 0)
        zone = zone->next;
    if (!zone) {
        status = zone_read(name, &zone, err);
        if (zone) {
            zone->next = cache;
            cache = zone;
        }
    }
    pthread_mutex_unlock(&cache_lock);
    if (status == RC_OK)
        *out = zone;
    return status;
}

const char *rc_timezone_name(const struct rc_timezone *zone) {
    return zone->name;
}

/* ---- the question ---------------------------------------------------------------------------------------------------- */

int64_t rc_timezone_period(const struct rc_timezone *zone, int64_t at_ms, int64_t *until_ms) {
    int64_t at_s = rc_floor_div(at_ms, SECOND_MS), next_s = INT64_MAX, offset = zone->first_s;
    if (zone->n == 0 || at_s < zone->at_s[0]) {
        if (zone->n)
            next_s = zone->at_s[0];
        else if (zone->tail.present)
            offset = tail_offset(&zone->tail, at_s, &next_s);
    } else {
        size_t low = 0, high = zone->n; /* at_s[low] <= at_s < at_s[high] */
        while (high - low > 1) {
            size_t middle = low + (high - low) / 2;
            if (zone->at_s[middle] <= at_s)
                low = middle;
            else
                high = middle;
        }
        offset = zone->offset_s[low];
        if (high < zone->n)
            next_s = zone->at_s[high];
        else if (zone->tail.present)
            offset = tail_offset(&zone->tail, at_s, &next_s);
    }
    *until_ms = next_s >= INT64_MAX / SECOND_MS ? INT64_MAX : next_s * SECOND_MS;
    return offset * SECOND_MS;
}

int64_t rc_timezone_offset(const struct rc_timezone *zone, int64_t at_ms) {
    int64_t until;
    return rc_timezone_period(zone, at_ms, &until);
}
