complete -c rltrace -s e -l filter -d 'Trace the calls that FILTER selects: malloc+free' -r
complete -c rltrace -s x -l entry -d 'Trace functions where they begin, whoever calls them' -r
complete -c rltrace -s l -l library -d 'Trace the calls of what matching libraries export' -r
complete -c rltrace -s F -l config -d 'Read prototypes from files or folders: `A:B`' -r
complete -c rltrace -s o -l output -d 'Write to FILE, or with `|COMMAND` to a command' -r
complete -c rltrace -l record -d 'Write a raw trace to FILE: quick, and not yet text' -r
complete -c rltrace -l replay -d 'Show a raw trace as the run would have been shown' -r -F
complete -c rltrace -s a -l align -d 'Put results at column N (default: 5/8 of the width)' -r
complete -c rltrace -s A -l array-elements -d 'Show at most N elements of an array (default: 4)' -r
complete -c rltrace -s s -l string-length -d 'Show at most N bytes of a string (default: 32)' -r
complete -c rltrace -s n -l indent -d 'Indent nested calls by N spaces' -r
complete -c rltrace -s w -l where -d 'Show a stack of N frames after each call; 0: all' -r
complete -c rltrace -l color -d 'Color the output: auto, always or never' -r
complete -c rltrace -l summary-json -d 'Write the table to FILE as JSON, too' -r -F
complete -c rltrace -l sort -d 'Sort the table by COLUMN, such as calls' -r
complete -c rltrace -l columns -d 'Show these columns, with commas between them' -r
complete -c rltrace -l compare -d 'Compare two files of --summary-json' -r -F
complete -c rltrace -l fail-over -d 'Exit with 3 where NEW has more: `malloc:calls:20%`' -r
complete -c rltrace -s p -l pid -d 'Trace the running process PID; may be repeated' -r
complete -c rltrace -s u -l user -d 'Run the command as this user' -r
complete -c rltrace -s E -l env -d 'Set VAR for the command; without `=`: unset it' -r
complete -c rltrace -l limit -d 'Leave after N calls; the command runs on' -r
complete -c rltrace -l for -d 'Leave after SECONDS; the command runs on' -r
complete -c rltrace -l engine -d 'Meet calls by trap, fast (inside the program), auto' -r -f -a "auto\t'Inside the program where that is safe, otherwise by traps'
trap\t'By traps'
fast\t'As `Auto`, and what must be met by traps is told'"
complete -c rltrace -l on-full -d 'What to do when a thread\'s ring is full: wait, or drop calls and count them' -r -f -a "wait\t'Wait for the tracer'
drop\t'Go on, and count what is lost'"
complete -c rltrace -l ring -d 'The size of each thread\'s ring: a power of two from 64K to 256M (default: 1M)' -r
complete -c rltrace -s D -l debug -d 'Tell of the tracer\'s own work: error, warn, info, debug or trace' -r
complete -c rltrace -l generate -d 'Print a man page, or what makes a shell complete options, and exit' -r -f -a "man\t'The manual page'
bash\t'Completions for bash'
zsh\t'Completions for zsh'
fish\t'Completions for fish'"
complete -c rltrace -s L -l no-library-calls -d 'Trace no library calls but those of -l and -x'
complete -c rltrace -s S -l syscalls -d 'Trace system calls, too'
complete -c rltrace -s f -l follow -d 'Trace the children, too; -ff: a FILE.PID for each'
complete -c rltrace -l list-prototypes -d 'Print the built-in prototypes, one a line: SONAME, FUNCTION, PROTOTYPE'
complete -c rltrace -l output-append -d 'Add to the FILE of -o instead of truncating it'
complete -c rltrace -s b -l no-signals -d 'Show no signals'
complete -c rltrace -s C -l demangle -d 'Show C++ and Rust names as they are in the source'
complete -c rltrace -s y -l fd-paths -d 'Show what descriptors refer to: `3</etc/passwd>`'
complete -c rltrace -s i -l instruction-pointer -d 'Show where each call returns to'
complete -c rltrace -s r -l relative-time -d 'Show the time since the line before'
complete -c rltrace -s t -l timestamps -d 'Show the time; -tt: microseconds; -ttt: since 1970'
complete -c rltrace -s T -l durations -d 'Show how long each call took'
complete -c rltrace -s c -l summary -d 'Count the calls, and print a table instead of lines'
complete -c rltrace -l summary-and-trace -d 'Print the lines and the table'
complete -c rltrace -l kill-on-exit -d 'Kill the command when rltrace ends'
complete -c rltrace -l no-handoff -d 'Do not move a thread to the tracer\'s CPU for the hand-over'
complete -c rltrace -l calibrate -d 'Call a function of the C library again and again: what a call costs is measured so'
complete -c rltrace -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rltrace -s V -l version -d 'Print version'
