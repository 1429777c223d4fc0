#compdef rltrace

autoload -U is-at-least

_rltrace() {
    typeset -A opt_args
    typeset -a _arguments_options
    local ret=1

    if is-at-least 5.2; then
        _arguments_options=(-s -S -C)
    else
        _arguments_options=(-s -C)
    fi

    local context curcontext="$curcontext" state line
    _arguments "${_arguments_options[@]}" : \
'*-e+[Trace the calls that FILTER selects\: malloc+free]:FILTER:_default' \
'*--filter=[Trace the calls that FILTER selects\: malloc+free]:FILTER:_default' \
'*-x+[Trace functions where they begin, whoever calls them]:FILTER:_default' \
'*--entry=[Trace functions where they begin, whoever calls them]:FILTER:_default' \
'*-l+[Trace the calls of what matching libraries export]:PATTERN:_default' \
'*--library=[Trace the calls of what matching libraries export]:PATTERN:_default' \
'*-F+[Read prototypes from files or folders\: \`A\:B\`]:LIST:_default' \
'*--config=[Read prototypes from files or folders\: \`A\:B\`]:LIST:_default' \
'-o+[Write to FILE, or with \`|COMMAND\` to a command]:FILE:_default' \
'--output=[Write to FILE, or with \`|COMMAND\` to a command]:FILE:_default' \
'--record=[Write a raw trace to FILE\: quick, and not yet text]:FILE:_default' \
'--replay=[Show a raw trace as the run would have been shown]:FILE:_files' \
'-a+[Put results at column N (default\: 5/8 of the width)]:N:_default' \
'--align=[Put results at column N (default\: 5/8 of the width)]:N:_default' \
'-A+[Show at most N elements of an array (default\: 4)]:N:_default' \
'--array-elements=[Show at most N elements of an array (default\: 4)]:N:_default' \
'-s+[Show at most N bytes of a string (default\: 32)]:N:_default' \
'--string-length=[Show at most N bytes of a string (default\: 32)]:N:_default' \
'-n+[Indent nested calls by N spaces]:N:_default' \
'--indent=[Indent nested calls by N spaces]:N:_default' \
'-w+[Show a stack of N frames after each call; 0\: all]:N:_default' \
'--where=[Show a stack of N frames after each call; 0\: all]:N:_default' \
'--color=[Color the output\: auto, always or never]:WHEN:_default' \
'--summary-json=[Write the table to FILE as JSON, too]:FILE:_files' \
'--sort=[Sort the table by COLUMN, such as calls]:COLUMN:_default' \
'--columns=[Show these columns, with commas between them]:LIST:_default' \
'(-p --pid)*--compare=[Compare two files of --summary-json]:BASE:_files:BASE:_files' \
'*--fail-over=[Exit with 3 where NEW has more\: \`malloc\:calls\:20%\`]:LIMIT:_default' \
'*-p+[Trace the running process PID; may be repeated]:PID:_default' \
'*--pid=[Trace the running process PID; may be repeated]:PID:_default' \
'-u+[Run the command as this user]:USER:_default' \
'--user=[Run the command as this user]:USER:_default' \
'*-E+[Set VAR for the command; without \`=\`\: unset it]:VAR=VAL:_default' \
'*--env=[Set VAR for the command; without \`=\`\: unset it]:VAR=VAL:_default' \
'--limit=[Leave after N calls; the command runs on]:N:_default' \
'--for=[Leave after SECONDS; the command runs on]:SECONDS:_default' \
'--engine=[Meet calls by trap, fast (inside the program), auto]:ENGINE:((auto\:"Inside the program where that is safe, otherwise by traps"
trap\:"By traps"
fast\:"As \`Auto\`, and what must be met by traps is told"))' \
'--on-full=[What to do when a thread'\''s ring is full\: wait, or drop calls and count them]:WHAT:((wait\:"Wait for the tracer"
drop\:"Go on, and count what is lost"))' \
'--ring=[The size of each thread'\''s ring\: a power of two from 64K to 256M (default\: 1M)]:SIZE:_default' \
'-D+[Tell of the tracer'\''s own work\: error, warn, info, debug or trace]:LEVEL:_default' \
'--debug=[Tell of the tracer'\''s own work\: error, warn, info, debug or trace]:LEVEL:_default' \
'--generate=[Print a man page, or what makes a shell complete options, and exit]:WHAT:((man\:"The manual page"
bash\:"Completions for bash"
zsh\:"Completions for zsh"
fish\:"Completions for fish"))' \
'(-e --filter)-L[Trace no library calls but those of -l and -x]' \
'(-e --filter)--no-library-calls[Trace no library calls but those of -l and -x]' \
'-S[Trace system calls, too]' \
'--syscalls[Trace system calls, too]' \
'*-f[Trace the children, too; -ff\: a FILE.PID for each]' \
'*--follow[Trace the children, too; -ff\: a FILE.PID for each]' \
'--list-prototypes[Print the built-in prototypes, one a line\: SONAME, FUNCTION, PROTOTYPE]' \
'--output-append[Add to the FILE of -o instead of truncating it]' \
'-b[Show no signals]' \
'--no-signals[Show no signals]' \
'-C[Show C++ and Rust names as they are in the source]' \
'--demangle[Show C++ and Rust names as they are in the source]' \
'-y[Show what descriptors refer to\: \`3</etc/passwd>\`]' \
'--fd-paths[Show what descriptors refer to\: \`3</etc/passwd>\`]' \
'-i[Show where each call returns to]' \
'--instruction-pointer[Show where each call returns to]' \
'(-t --timestamps)-r[Show the time since the line before]' \
'(-t --timestamps)--relative-time[Show the time since the line before]' \
'*-t[Show the time; -tt\: microseconds; -ttt\: since 1970]' \
'*--timestamps[Show the time; -tt\: microseconds; -ttt\: since 1970]' \
'-T[Show how long each call took]' \
'--durations[Show how long each call took]' \
'-c[Count the calls, and print a table instead of lines]' \
'--summary[Count the calls, and print a table instead of lines]' \
'--summary-and-trace[Print the lines and the table]' \
'--kill-on-exit[Kill the command when rltrace ends]' \
'--no-handoff[Do not move a thread to the tracer'\''s CPU for the hand-over]' \
'--calibrate[Call a function of the C library again and again\: what a call costs is measured so]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'-V[Print version]' \
'--version[Print version]' \
'*::command -- The command and its arguments:_default' \
&& ret=0
}

(( $+functions[_rltrace_commands] )) ||
_rltrace_commands() {
    local commands; commands=()
    _describe -t commands 'rltrace commands' commands "$@"
}

if [ "$funcstack[1]" = "_rltrace" ]; then
    _rltrace "$@"
else
    compdef _rltrace rltrace
fi
