complete -c passt4netns -w pasta
