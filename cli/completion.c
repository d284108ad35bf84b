/* Completion is printed from the tables of commands and options, so it cannot lag behind them. */
#include <stdio.h>
#include <string.h>

#include "cli/applied.h"
#include "cli/commands.h"

static void print_names(const struct rc_cli_option *options) {
    for (; options && options->name; options++)
        printf(" --%s", options->name);
}

static void print_files(void) {
    /* Options whose values are paths, and commands whose arguments are. */
    printf("    case \"$previous\" in\n"
           "        --file|-f|--config|--events) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n"
           "        --set) COMPREPLY=($(compgen -S = -W \"");
    size_t n;
    const struct rc_config_property *table = rc_config_properties(&n);
    for (size_t i = 0; i < n; i++)
        printf("%s%s", i ? " " : "", table[i].name);
    printf("\" -- \"$word\")); compopt -o nospace 2>/dev/null; return ;;\n"
           "        --status) COMPREPLY=($(compgen -W \"realized exited\" -- \"$word\")); return ;;\n"
           "        --state) COMPREPLY=($(compgen -W \"dead redriven\" -- \"$word\")); return ;;\n"
           "        --shift) COMPREPLY=($(compgen -W now -- \"$word\")); return ;;\n"
           "    esac\n");
}

static void print_arguments(void) {
    printf("    case \"$command\" in\n        get|describe|delete)\n"
           "            ((place == 2)) && COMPREPLY=($(compgen -W \"");
    for (const char *const *kind = rc_cli_kinds; *kind; kind++)
        printf("%s%s", kind == rc_cli_kinds ? "" : " ", *kind);
    printf("\" -- \"$word\")) ;;\n        help) COMPREPLY=($(compgen -W \"$commands config\" -- \"$word\")) ;;\n"
           "        backfill) ((place == 2)) && COMPREPLY=($(compgen -W \"list pause resume cancel rate\" -- "
           "\"$word\")) ;;\n"
           "        deadletters) ((place == 2)) && COMPREPLY=($(compgen -W \"list show redrive\" -- \"$word\")) ;;\n"
           "        completion) COMPREPLY=($(compgen -W bash -- \"$word\")) ;;\n"
           "        apply|produce|import|eval) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n    esac\n");
}

static rc_status completion(struct rc_cli *cli, struct rc_error *err) {
    if (rc_cli_expect(cli, 1, 1, err) != RC_OK)
        return RC_FAIL;
    if (strcmp(cli->args.positional[0], "bash") != 0)
        return rc_cli_usage(cli, err, "no completion for \"%s\", there is one for bash", cli->args.positional[0]);
    printf("# bash completion of rollcall; source it: . <(rollcall completion bash)\n_rollcall() {\n"
           "    local word=\"${COMP_WORDS[COMP_CWORD]}\" previous=\"${COMP_WORDS[COMP_CWORD-1]}\" place=$COMP_CWORD\n"
           "    local command=\"${COMP_WORDS[1]}\" commands=\"");
    for (size_t i = 0; rc_cli_commands[i]; i++)
        printf("%s%s", i ? " " : "", rc_cli_commands[i]->name);
    printf("\" options=\n    COMPREPLY=()\n"
           "    if ((COMP_CWORD == 1)); then COMPREPLY=($(compgen -W \"$commands --help --version\" -- \"$word\")); "
           "return; fi\n");
    print_files();
    printf("    case \"$command\" in\n");
    for (size_t i = 0; rc_cli_commands[i]; i++) {
        struct rc_cli_option common[CLI_MAX_COMMON];
        rc_cli_common_options(rc_cli_commands[i], common);
        printf("        %s) options=\"", rc_cli_commands[i]->name);
        print_names(rc_cli_commands[i]->options);
        print_names(common);
        printf("\" ;;\n");
    }
    printf(
        "    esac\n    if [[ $word == -* ]]; then COMPREPLY=($(compgen -W \"$options\" -- \"$word\")); return; fi\n");
    print_arguments();
    printf("}\ncomplete -F _rollcall rollcall\n");
    return RC_OK;
}

const struct rc_cli_command rc_cli_command_completion = {
    .name = "completion",
    .summary = "Completion for bash",
    .arguments = "bash",
    .text = "Prints a script for bash that completes commands, options and configuration keys.",
    .examples = ". <(rollcall completion bash)\nrollcall completion bash > /etc/bash_completion.d/rollcall",
    .no_config = true,
    .run = completion,
};
