#include "consumers/materialize/rulebook.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"

int64_t rc_audience_expiry_ms(const struct rc_audience *audience) {
    if (audience->expires_ms)
        return audience->expires_ms;
    time_t seconds = (time_t)(audience->applied_ms / 1000);
    struct tm date;
    if (audience->applied_ms <= 0 || !gmtime_r(&seconds, &date))
        return INT64_MAX; /* never applied: a file */
    int day = date.tm_mday;
    date.tm_mon += RC_AUDIENCE_LIFE_MONTHS;
    seconds = timegm(&date);
    /* 31 January + 13 months is the last day of February, not a day in March. */
    if (gmtime_r(&seconds, &date) && date.tm_mday != day)
        seconds -= (time_t)date.tm_mday * 86400;
    return (int64_t)seconds * 1000 + audience->applied_ms % 1000;
}

static enum rc_audience_mode ended(bool exit) {
    return exit ? RC_AUDIENCE_ENDED : RC_AUDIENCE_FROZEN;
}

static void note_next(struct rc_rulebook *book, int64_t at_ms) {
    book->next_ms = at_ms < book->next_ms ? at_ms : book->next_ms;
}

static void enter_defined(struct rc_rulebook *book, const struct rc_audience *audience, int64_t now_ms) {
    size_t at = book->n++;
    book->specs[at] = (struct rc_audience_spec){
        .definition = audience, .id = audience->id, .version = audience->version, .mode = RC_AUDIENCE_LIVE};
    int64_t expiry = rc_audience_expiry_ms(audience);
    book->entries[at] = (struct rc_audience_entry){.id = audience->id,
                                                   .newest = audience->version,
                                                   .topic = audience->topic,
                                                   .schedule = rc_schedule_of(audience),
                                                   .expires_ms = expiry};
    if (audience->paused) {
        book->specs[at].mode = ended(audience->on_end == RC_ON_END_EXIT);
        book->entries[at].state = rc_strdup("paused");
    } else if (expiry <= now_ms) {
        book->specs[at].mode = ended(audience->on_end == RC_ON_END_EXIT);
        book->entries[at].state = rc_strdup("expired");
    } else {
        if (audience->refresh != RC_REFRESH_CONTINUOUS)
            book->specs[at].mode = RC_AUDIENCE_SCHEDULED;
        book->entries[at].state = rc_strdup("ready");
        note_next(book, expiry);
        book->entries[at].ends_soon = expiry != INT64_MAX && expiry - RC_AUDIENCE_WARNING_MS <= now_ms;
        if (!book->entries[at].ends_soon && expiry != INT64_MAX)
            note_next(book, expiry - RC_AUDIENCE_WARNING_MS);
    }
}

void rc_rulebook_init(struct rc_rulebook *book, const struct rc_catalog *catalog,
                      const struct rc_audience_memory *memories, size_t n_memories, int64_t now_ms) {
    *book = (struct rc_rulebook){.next_ms = INT64_MAX};
    size_t most = catalog->n_audiences + n_memories;
    book->specs = rc_calloc(most, sizeof *book->specs);
    book->entries = rc_calloc(most, sizeof *book->entries);
    for (size_t i = 0; i < catalog->n_audiences; i++)
        enter_defined(book, &catalog->audiences[i], now_ms);
    for (size_t i = 0; i < n_memories; i++) {
        const struct rc_audience_memory *memory = &memories[i];
        if (rc_catalog_audience(catalog, memory->id) >= 0)
            continue;
        book->specs[book->n] =
            (struct rc_audience_spec){.id = memory->id, .version = memory->version, .mode = ended(!memory->keep)};
        book->entries[book->n++] = (struct rc_audience_entry){.id = memory->id,
                                                              .newest = memory->version,
                                                              .state = rc_strdup("deleted"),
                                                              .next_ms = INT64_MAX,
                                                              .expires_ms = INT64_MAX};
    }
    (void)rc_rulebook_tick(book, now_ms);
}

bool rc_rulebook_tick(struct rc_rulebook *book, int64_t now_ms) {
    bool came = false;
    book->due_ms = INT64_MAX;
    for (size_t i = 0; i < book->n; i++) {
        struct rc_audience_entry *entry = &book->entries[i];
        if (entry->next_ms <= now_ms) {
            int64_t latest = rc_schedule_latest(&entry->schedule, now_ms);
            came |= latest > entry->latest_ms;
            entry->latest_ms = latest > entry->latest_ms ? latest : entry->latest_ms;
            entry->next_ms = rc_schedule_next(&entry->schedule, now_ms);
        }
        book->due_ms = entry->next_ms < book->due_ms ? entry->next_ms : book->due_ms;
    }
    return came;
}

void rc_rulebook_deinit(struct rc_rulebook *book) {
    for (size_t i = 0; i < book->n; i++) {
        free(book->entries[i].state);
        json_decref(book->entries[i].serves);
    }
    free(book->entries);
    free(book->specs);
    *book = (struct rc_rulebook){0};
}

void rc_rulebook_refuse(struct rc_rulebook *book, size_t index, const char *why) {
    struct rc_buf text;
    rc_buf_init(&text, 4096);
    (void)rc_buf_printf(&text, "error: %s", why);
    free(book->entries[index].state);
    book->entries[index].state = rc_span_dup(rc_buf_span(&text));
    rc_buf_deinit(&text);
    book->specs[index].mode = RC_AUDIENCE_FROZEN;
}
