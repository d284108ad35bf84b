/* The texts of schemas/membership.avsc and schemas/segment_membership.avsc, so that a program needs no files beside
 * it to register them. A test holds them to the files. */
#include "codec/membership.h"

/* clang-format off */
static const char audience_schema[] =
    "{\"type\": \"record\", \"name\": \"Membership\", \"namespace\": \"rollcall\",\n"
    " \"doc\": \"A person's change of membership in an audience. Topic rollcall.memberships, key namespace:id|audience, compacted.\",\n"
    " \"fields\": [\n"
    "  {\"name\": \"audience\", \"type\": \"string\",\n"
    "   \"doc\": \"Id of the audience.\"},\n"
    "  {\"name\": \"namespace\", \"type\": \"string\",\n"
    "   \"doc\": \"Identity namespace of the person.\"},\n"
    "  {\"name\": \"personId\", \"type\": \"string\",\n"
    "   \"doc\": \"Identity of the person in the namespace.\"},\n"
    "  {\"name\": \"status\", \"type\": {\"type\": \"enum\", \"name\": \"Status\", \"symbols\": [\"realized\", \"exited\"]},\n"
    "   \"doc\": \"What the person is from `since` on.\"},\n"
    "  {\"name\": \"since\", \"type\": {\"type\": \"long\", \"logicalType\": \"timestamp-millis\"},\n"
    "   \"doc\": \"The instant at which the membership took this value.\"},\n"
    "  {\"name\": \"version\", \"type\": \"long\",\n"
    "   \"doc\": \"Grows with each change of one person and audience; keep the highest, ignore the rest.\"},\n"
    "  {\"name\": \"cause\", \"type\": {\"type\": \"enum\", \"name\": \"Cause\", \"symbols\": [\"event\", \"time\", \"backfill\", \"schedule\", \"definition\", \"consent\", \"restore\"]},\n"
    "   \"doc\": \"What decided the change.\"},\n"
    "  {\"name\": \"eventId\", \"type\": [\"null\", \"string\"], \"default\": null,\n"
    "   \"doc\": \"The deciding event's id, if an event decided.\"},\n"
    "  {\"name\": \"eventTime\", \"type\": [\"null\", {\"type\": \"long\", \"logicalType\": \"timestamp-millis\"}], \"default\": null,\n"
    "   \"doc\": \"The deciding event's timestamp.\"},\n"
    "  {\"name\": \"emittedAt\", \"type\": {\"type\": \"long\", \"logicalType\": \"timestamp-millis\"},\n"
    "   \"doc\": \"When the change was written.\"},\n"
    "  {\"name\": \"audienceVersion\", \"type\": \"int\",\n"
    "   \"doc\": \"Version of the definition that the change follows.\"}\n"
    " ]}\n";

static const char segment_schema[] =
    "{\"type\": \"record\", \"name\": \"SegmentMembership\", \"namespace\": \"rollcall\",\n"
    " \"doc\": \"A person's change of membership in a segment, or (segment _exists.DATASET) the start of their existence. Topic rollcall.segments, key namespace:id|segment, compacted.\",\n"
    " \"fields\": [\n"
    "  {\"name\": \"segment\", \"type\": \"string\",\n"
    "   \"doc\": \"Id of the segment, or _exists.DATASET.\"},\n"
    "  {\"name\": \"namespace\", \"type\": \"string\",\n"
    "   \"doc\": \"Identity namespace of the person.\"},\n"
    "  {\"name\": \"personId\", \"type\": \"string\",\n"
    "   \"doc\": \"Identity of the person in the namespace.\"},\n"
    "  {\"name\": \"status\", \"type\": {\"type\": \"enum\", \"name\": \"SegmentStatus\", \"symbols\": [\"realized\", \"exited\"]},\n"
    "   \"doc\": \"What the person is from `since` on.\"},\n"
    "  {\"name\": \"since\", \"type\": {\"type\": \"long\", \"logicalType\": \"timestamp-millis\"},\n"
    "   \"doc\": \"The instant at which the membership took this value.\"},\n"
    "  {\"name\": \"version\", \"type\": \"long\",\n"
    "   \"doc\": \"Grows with each change of one person and segment; keep the highest, ignore the rest.\"},\n"
    "  {\"name\": \"cause\", \"type\": {\"type\": \"enum\", \"name\": \"SegmentCause\", \"symbols\": [\"event\", \"time\", \"backfill\", \"schedule\", \"definition\", \"consent\", \"restore\"]},\n"
    "   \"doc\": \"What decided the change.\"},\n"
    "  {\"name\": \"eventId\", \"type\": [\"null\", \"string\"], \"default\": null,\n"
    "   \"doc\": \"The deciding event's id, if an event decided.\"},\n"
    "  {\"name\": \"eventTime\", \"type\": [\"null\", {\"type\": \"long\", \"logicalType\": \"timestamp-millis\"}], \"default\": null,\n"
    "   \"doc\": \"The deciding event's timestamp.\"},\n"
    "  {\"name\": \"emittedAt\", \"type\": {\"type\": \"long\", \"logicalType\": \"timestamp-millis\"},\n"
    "   \"doc\": \"When the change was written.\"},\n"
    "  {\"name\": \"segmentVersion\", \"type\": \"int\",\n"
    "   \"doc\": \"Version of the definition that the change follows.\"}\n"
    " ]}\n";

/* clang-format on */

const char *rc_membership_schema(enum rc_membership_kind kind) {
    return kind == RC_MEMBERSHIP_AUDIENCE ? audience_schema : segment_schema;
}
