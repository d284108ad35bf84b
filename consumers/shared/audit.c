/* An entry's text, and the file beside an embedded broker. See audit.h. */
#include "consumers/shared/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/timezone.h"
#include "kafka/embedded.h"
#include "kafka/topics.h"

rc_status rc_audit_add(struct rc_buf *out, const struct rc_audit *entry) {
    char time[25];
    rc_rfc3339_format(entry->at_ms, time);
    rc_buf_printf(out, "{\"time\":\"%s\",\"who\":", time);
    rc_buf_add_json_string(out, rc_span_str(entry->who));
    rc_buf_add_str(out, ",\"kind\":");
    rc_buf_add_json_string(out, rc_span_str(entry->kind));
    rc_buf_add_str(out, ",\"id\":");
    rc_buf_add_json_string(out, rc_span_str(entry->id));
    rc_buf_printf(out, ",\"action\":\"%s\",\"version\":%d", entry->action, entry->version);
    if (entry->effect)
        rc_buf_printf(out, ",\"effect\":%s", entry->effect);
    rc_buf_add_str(out, ",\"definition\":");
    rc_buf_add_str(out, entry->json);
    return rc_buf_add_byte(out, '}');
}

char *rc_audit_file(const struct rc_config *config) {
    char *path;
    if (asprintf(&path, "%s/audit.jsonl", rc_config_text(config, "state.dir")) < 0)
        abort();
    return path;
}

rc_status rc_audit_keep(const struct rc_config *config, struct rc_span lines, struct rc_error *err) {
    char *path = rc_audit_file(config);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    /* One write at the end of the file, one writer at a time: lines never mix. */
    bool good = fd >= 0 && flock(fd, LOCK_EX) == 0 && write(fd, lines.data, lines.len) == (ssize_t)lines.len &&
                fdatasync(fd) == 0;
    rc_status status =
        good ? RC_OK
             : rc_error_set(err, RC_CLASS_FATAL, RC_EXIT_TEMPORARY,
                            "the change was made, but not noted in the audit trail %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    free(path);
    return status;
}

rc_status rc_audit_send(const struct rc_config *config, struct rc_producer *producer, const struct rc_audit *entry,
                        struct rc_error *err) {
    struct rc_buf key, value;
    rc_buf_init(&key, 256);
    rc_buf_init(&value, SIZE_MAX);
    rc_buf_printf(&key, "%s/%s", entry->kind, entry->id);
    rc_status status = rc_audit_add(&value, entry);
    if (status == RC_OK && rc_embedded_used(config)) {
        rc_buf_add_byte(&value, '\n');
        status = rc_audit_keep(config, rc_buf_span(&value), err);
    } else if (status == RC_OK) {
        char *topic = rc_topic_name(config, "audit");
        struct rc_outgoing record = {
            .topic = topic, .key = rc_buf_span(&key), .value = rc_buf_span(&value), .timestamp_ms = RC_NO_TIMESTAMP};
        status = rc_producer_send(producer, &record, err);
        free(topic);
    }
    rc_buf_deinit(&key);
    rc_buf_deinit(&value);
    return status;
}
