# fish completion for qrap.
complete -c qrap -x -a '(__fish_complete_subcommand --fcs-skip=(string match -qr "^[0-9]+$" -- (commandline -opc)[2]; and echo 2; or echo 1))'
