/* What differs between two texts, line by line. */
#ifndef RC_CLI_LINES_H
#define RC_CLI_LINES_H

/* Prints both texts as one: "  " before lines of both, "- " before those of `before` only, "+ " before those of `after` only; as few of the latter
 * two as possible (longest common subsequence; W. Miller, E. Myers, "A file comparison program", 1985), but where both texts differ in thousands
 * of lines: there all of one, then all of the other. */
void rc_cli_lines_print(const char *before, const char *after);

#endif
