# Interactive shells of the desktop. A home directory may override it with its own .bashrc.
[ -z "$PS1" ] && return
shopt -s checkwinsize
HISTCONTROL=ignoreboth
PS1='\[\e[38;5;111m\]\u\[\e[0m\] \[\e[38;5;250m\]\w\[\e[0m\] \[\e[38;5;79m\]\$\[\e[0m\] '
alias ls='ls --color=auto'
alias ll='ls -l'
alias grep='grep --color=auto'
