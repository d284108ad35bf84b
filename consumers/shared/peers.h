/* What every process of a role tells under one key of its record in `<prefix>.processes` (announce.h adds it there): how guards know the numbers
 * of partitions that are not their own. Follows the topic only while somebody wants to know. One thread. */
#ifndef RC_SHARED_PEERS_H
#define RC_SHARED_PEERS_H

#include <jansson.h>

#include "base/config.h"
#include "kafka/loop.h"

struct rc_peers;

/* `config`, `loop` and `key` are borrowed for its life. Reads nothing yet. */
struct rc_peers *rc_peers_new(const struct rc_config *config, struct rc_loop *loop, const char *key);
void rc_peers_free(struct rc_peers *peers);

/* Takes in what has been told; the first call begins to follow the topic from its start. A broker that does not answer is logged and tried again. */
void rc_peers_listen(struct rc_peers *peers);

/* Forgets all and follows no more, until the next listen. */
void rc_peers_rest(struct rc_peers *peers);

/* By record key: what stands there under the key. Borrowed until the next listen or rest; not to be changed. */
json_t *rc_peers_told(const struct rc_peers *peers);

#endif
