/* Bytes of a file, a pipe or stdin, gzip seen through; one buffer, borrowed views of it. Internal to files*.c. */
#ifndef RC_CODEC_INPUT_H
#define RC_CODEC_INPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/span.h"

struct rc_input;

/* `path`: "-" is stdin. POISON, exit 65, with the path. */
rc_status rc_input_open(const char *path, struct rc_input **out, struct rc_error *err) RC_MUST_USE;
void rc_input_close(struct rc_input *input);

const char *rc_input_name(const struct rc_input *input); /* the path, or "stdin" */

/* At least `want` bytes from where reading stands, fewer only at the end of the input; borrowed until the next call.
 * Fails on an error of reading or of gzip (data that ends early, a wrong checksum), and when `want` is more than
 * RC_INPUT_WANT_MAX. */
#define RC_INPUT_WANT_MAX ((size_t)256 << 20)
rc_status rc_input_peek(struct rc_input *input, size_t want, struct rc_span *out, struct rc_error *err) RC_MUST_USE;

/* Moves on by `n` bytes, of those that the last peek gave. */
void rc_input_skip(struct rc_input *input, size_t n);

void rc_input_progress(const struct rc_input *input, int64_t *read_bytes, int64_t *total_bytes);

#endif
