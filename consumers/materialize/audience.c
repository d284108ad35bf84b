/* Deciding: a group of segment changes → audience changes.
 *
 * `since` is found by walking back over what is known: before its `since` a signal had the other value, so the greatest known instant at
 * which the condition had another value is when it took its present one. For changes in time order that is the instant of the group
 * itself; for a late event it is the instant as far as the records tell. (How a signal was before the change before last is not known.) */
#include "consumers/materialize/audience.h"

#include <stdlib.h>

#include "consumers/materialize/audience_person.h"
#include "consumers/materialize/audience_rules.h"

/* ---- evaluation -------------------------------------------------------------------------------------------------------------- */

/* Three values, after Kleene: what was is not always known. */
enum truth { NO, YES, UNKNOWN };

static enum truth negated(enum truth value) {
    return value == UNKNOWN ? UNKNOWN : value == YES ? NO : YES;
}

static enum truth evaluate(const struct rc_audience_rule *rule, const uint8_t *leaves, uint8_t *stack) {
    size_t depth = 0;
    for (size_t i = 0; i < rule->n_ops; i++) {
        struct rc_audience_op op = rule->ops[i];
        if (op.kind == RC_AUDIENCE_OP_LEAF) {
            stack[depth++] = leaves[op.arg];
            continue;
        }
        if (op.kind == RC_AUDIENCE_OP_NOT) {
            stack[depth - 1] = (uint8_t)negated(stack[depth - 1]);
            continue;
        }
        /* `and` ends at a NO, `or` at a YES; without one an UNKNOWN counts. */
        enum truth end = op.kind == RC_AUDIENCE_OP_AND ? NO : YES, value = negated(end);
        for (uint32_t k = 0; k < op.arg; k++) {
            enum truth operand = stack[--depth];
            if (operand == end || (operand == UNKNOWN && value != end))
                value = operand;
        }
        stack[depth++] = (uint8_t)value;
    }
    return depth ? stack[0] : NO;
}

/* The person's first timestamp in any of the rule's datasets, as far as it is known; INT64_MAX: none. A segment that was ever realized
 * says as well that the person was there: with several datasets it may come before the existence in one of them is told. */
static int64_t first_timestamp(const struct rc_audience_rule *rule, const struct rc_audience_person *person) {
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < rule->n_exists; i++) {
        const struct rc_audience_signal *signal = rc_audience_person_signal(person, rule->exists[i]);
        if (signal && signal->realized && signal->since_ms < first)
            first = signal->since_ms;
    }
    for (size_t i = 0; i < rule->n_leaves; i++) {
        const struct rc_audience_signal *signal = rc_audience_person_signal(person, rule->leaves[i]);
        if (signal && signal->since_ms < first)
            first = signal->since_ms;
    }
    return first;
}

static void read_leaves(const struct rc_audience_rule *rule, const struct rc_audience_person *person, uint8_t *leaves) {
    for (size_t i = 0; i < rule->n_leaves; i++) {
        const struct rc_audience_signal *signal = rc_audience_person_signal(person, rule->leaves[i]);
        leaves[i] = signal && signal->realized ? YES : NO;
    }
}

static bool holds(const struct rc_audience_rules *rules, const struct rc_audience_rule *rule,
                  const struct rc_audience_person *person) {
    if (!rule->n_ops || first_timestamp(rule, person) == INT64_MAX)
        return false;
    read_leaves(rule, person, rules->leaves);
    return evaluate(rule, rules->leaves, rules->stack) == YES;
}

bool rc_audience_holds(const struct rc_audience_rules *rules, const struct rc_audience_rule *rule,
                       const struct rc_audience_person *person) {
    return holds(rules, rule, person);
}

/* The instant at which the rule took its present value `now`; false when the person's record does not tell. With `guess` a signal that has
 * changed is taken to have been the other way all the time before; without it what was before that is unknown, and an answer is certain. */
static bool find_since(const struct rc_audience_rules *rules, const struct rc_audience_rule *rule,
                       const struct rc_audience_person *person, bool now, bool guess, int64_t *since) {
    int64_t first = first_timestamp(rule, person);
    int64_t above = INT64_MAX; /* instants from here on are looked at already */
    read_leaves(rule, person, rules->leaves);
    for (;;) {
        int64_t at = first < above ? first : INT64_MIN;
        for (size_t i = 0; i < rule->n_leaves; i++) {
            const struct rc_audience_signal *signal = rc_audience_person_signal(person, rule->leaves[i]);
            if (signal && signal->since_ms < above && signal->since_ms > at)
                at = signal->since_ms;
        }
        if (at == INT64_MIN)
            return false;
        for (size_t i = 0; i < rule->n_leaves; i++) {
            const struct rc_audience_signal *signal = rc_audience_person_signal(person, rule->leaves[i]);
            if (signal && signal->since_ms == at)
                rules->leaves[i] = (uint8_t)negated(rules->leaves[i]);
            else if (signal && signal->since_ms == above && !guess)
                rules->leaves[i] = UNKNOWN;
        }
        enum truth before = first < at ? evaluate(rule, rules->leaves, rules->stack) : NO;
        if (before == UNKNOWN)
            return false;
        if ((before == YES) != now) {
            *since = at;
            return true;
        }
        above = at;
    }
}

static int64_t since_of(const struct rc_audience_rules *rules, const struct rc_audience_rule *rule,
                        const struct rc_audience_person *person, bool now, int64_t otherwise) {
    int64_t since = otherwise;
    if (!find_since(rules, rule, person, now, false, &since))
        (void)find_since(rules, rule, person, now, true, &since);
    return since;
}

/* ---- publishing -------------------------------------------------------------------------------------------------------------- */

static void tally(const struct rc_audience_desk *desk, uint32_t audience, int64_t members, int64_t withheld) {
    desk->here[audience].members += members;
    desk->here[audience].withheld += withheld;
    desk->all[audience].members += members;
    desk->all[audience].withheld += withheld;
}

/* What is the same for all audiences in one decision. */
struct why {
    enum rc_cause cause;
    struct rc_span event_id;
    int64_t event_time_ms;
    int64_t otherwise_ms; /* `since` when the record does not tell */
    bool scheduled;       /* scheduled audiences too */
};

/* Holds one audience against what was published. Returns whether the record changed. */
static bool settle(const struct rc_audience_desk *desk, const struct rc_audience_rule *rule,
                   struct rc_audience_person *person, const struct why *why) {
    if (rule->mode == RC_AUDIENCE_FROZEN || (rule->mode == RC_AUDIENCE_SCHEDULED && !why->scheduled))
        return false;
    if (desk->waits && desk->waits[rule->name] && rule->mode != RC_AUDIENCE_ENDED)
        return false;
    struct rc_audience_standing *standing = rc_audience_person_mutable_standing(person, rule->name);
    bool published = standing && standing->realized, withheld = standing && standing->withheld;
    bool now = rule->mode != RC_AUDIENCE_ENDED && holds(desk->rules, rule, person);
    if (now == published && !(withheld && !now)) {
        /* After a loss: it went and came back in what was not seen, so the status is right and its instant is not. */
        int64_t since = INT64_MIN;
        if (why->cause != RC_CAUSE_RESTORE || rule->mode != RC_AUDIENCE_LIVE || !standing || withheld ||
            !find_since(desk->rules, rule, person, now, false, &since) || since <= standing->since_ms)
            return false;
    }
    if (!now && withheld) {
        tally(desk, rule->name, 0, -1);
        standing->withheld = false;
        rc_audience_person_forget(person, rule->name);
        return true;
    }
    int64_t since = since_of(desk->rules, rule, person, now, why->otherwise_ms);
    if (now && !published && desk->all[rule->name].members >= rc_audience_rules_limit(desk->rules, rule)) {
        if (withheld)
            return false;
        if (!standing)
            standing = rc_audience_person_add_standing(person, rule->name);
        standing->withheld = true;
        standing->since_ms = since;
        tally(desk, rule->name, 0, 1);
        return true;
    }
    tally(desk, rule->name, (int64_t)now - (int64_t)published, withheld ? -1 : 0);
    struct rc_audience_change change = {.rule = rule,
                                        .realized = now,
                                        .since_ms = since,
                                        .cause = why->cause,
                                        .event_id = why->event_id,
                                        .event_time_ms = why->event_time_ms};
    int64_t version = desk->emit(desk->ctx, &change);
    if (!standing)
        standing = rc_audience_person_add_standing(person, rule->name);
    *standing =
        (struct rc_audience_standing){.audience = rule->name, .realized = now, .since_ms = since, .version = version};
    return true;
}

bool rc_audience_review(const struct rc_audience_desk *desk, struct rc_audience_person *person, enum rc_cause cause,
                        int64_t now_ms) {
    struct rc_audience_rules *rules = desk->rules;
    if (person->generation == rules->generation)
        return false;
    struct why why = {.cause = cause, .event_time_ms = RC_NO_EVENT_TIME, .otherwise_ms = now_ms};
    for (size_t i = 0; i < rules->n; i++)
        settle(desk, &rules->rules[i], person, &why);
    person->generation = rules->generation;
    return true;
}

bool rc_audience_publish(const struct rc_audience_desk *desk, struct rc_audience_person *person,
                         const uint32_t *audiences, size_t n, enum rc_cause cause, int64_t now_ms) {
    struct why why = {.cause = cause, .event_time_ms = RC_NO_EVENT_TIME, .otherwise_ms = now_ms, .scheduled = true};
    bool changed = false;
    for (size_t i = 0; i < n; i++) {
        const struct rc_audience_rule *rule = rc_audience_rules_find(desk->rules, audiences[i]);
        if (rule)
            changed |= settle(desk, rule, person, &why);
    }
    return changed;
}

/* ---- groups ------------------------------------------------------------------------------------------------------------------ */

/* Takes one input into the record; false when it says nothing new. */
static bool take(struct rc_audience_person *person, const struct rc_audience_input *input) {
    struct rc_audience_signal *signal = rc_audience_person_signal(person, input->name);
    if (input->gone) {
        if (!signal || signal->realized)
            return false;
        rc_audience_person_remove_signal(person, signal);
        return true;
    }
    if (signal && input->version <= signal->version)
        return false;
    if (!signal)
        signal = rc_audience_person_add_signal(person, input->name);
    signal->realized = input->realized;
    signal->since_ms = input->since_ms;
    signal->version = input->version;
    return true;
}

bool rc_audience_learn(struct rc_audience_person *person, const struct rc_audience_input *inputs, size_t n) {
    bool changed = false;
    for (size_t i = 0; i < n; i++)
        changed |= take(person, &inputs[i]);
    if (changed)
        person->generation = 0;
    return changed;
}

/* By `since`, keeping the order of arrival for equal ones. Groups are short: insertion sort. */
static void sort_by_since(struct rc_audience_input *inputs, size_t n) {
    for (size_t i = 1; i < n; i++) {
        struct rc_audience_input input = inputs[i];
        size_t at = i;
        for (; at > 0 && inputs[at - 1].since_ms > input.since_ms; at--)
            inputs[at] = inputs[at - 1];
        inputs[at] = input;
    }
}

/* What history or definitions have brought is told as the net of it, however long it has been so: nobody passes through states of the past. */
static bool is_net(const struct rc_audience_input *input) {
    return input->cause == RC_CAUSE_BACKFILL || input->cause == RC_CAUSE_DEFINITION;
}

static size_t mark_affected(struct rc_audience_rules *rules, uint32_t signal, size_t n_affected) {
    if (signal >= rules->n_touched)
        return n_affected;
    const struct rc_audience_touch *touch = &rules->touched[signal];
    for (size_t i = 0; i < touch->n; i++) {
        uint32_t rule = touch->rules[i];
        if (rules->stamps[rule] == rules->pass)
            continue;
        rules->stamps[rule] = rules->pass;
        rules->affected[n_affected++] = rule;
    }
    return n_affected;
}

bool rc_audience_decide(const struct rc_audience_desk *desk, struct rc_audience_person *person,
                        struct rc_audience_input *inputs, size_t n, enum rc_cause review_cause, int64_t now_ms) {
    struct rc_audience_rules *rules = desk->rules;
    bool changed = !desk->trust && rc_audience_review(desk, person, review_cause, now_ms);
    sort_by_since(inputs, n);
    for (size_t from = 0, to = 0; from < n; from = to) {
        struct why why = {
            .cause = RC_CAUSE_TIME, .event_time_ms = RC_NO_EVENT_TIME, .otherwise_ms = inputs[from].since_ms};
        size_t n_affected = 0;
        bool any = false;
        rules->pass++;
        for (to = from; to < n && (inputs[to].since_ms == inputs[from].since_ms ||
                                   (is_net(&inputs[to - 1]) && is_net(&inputs[to])));
             to++) {
            if (!take(person, &inputs[to]))
                continue;
            changed = true;
            why.otherwise_ms = inputs[to].since_ms;
            n_affected = mark_affected(rules, inputs[to].name, n_affected);
            /* Of several reasons at one instant an event is the better one: it can be named. */
            if (!any || (why.cause != RC_CAUSE_EVENT && inputs[to].cause == RC_CAUSE_EVENT)) {
                why.cause = inputs[to].cause;
                why.event_id = inputs[to].event_id;
                why.event_time_ms = inputs[to].event_time_ms;
            }
            any = true;
        }
        for (size_t i = 0; i < n_affected; i++)
            settle(desk, &rules->rules[rules->affected[i]], person, &why);
    }
    return changed;
}

void rc_audience_tally_add(struct rc_audience_tally *tallies, const struct rc_audience_person *person, int sign) {
    for (size_t i = 0; i < person->n_standings; i++) {
        const struct rc_audience_standing *standing = &person->standings[i];
        tallies[standing->audience].members += standing->realized ? sign : 0;
        tallies[standing->audience].withheld += standing->withheld ? sign : 0;
    }
}
