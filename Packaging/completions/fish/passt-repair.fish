# fish completion for passt-repair. Made from the option table by `swift run completions`: not to be edited.
complete -c passt-repair -s h -l help -d 'Print this text and exit'
complete -c passt-repair -s V -l version -d 'Print the version and exit'
