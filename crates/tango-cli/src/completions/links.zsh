# The names of links, in the folder of --dir if the line has it.
_tango_links() {
    local -a line=(${(z)BUFFER}) dir=() names=()
    integer at=${line[(I)--dir]}
    local joined=${line[(R)--dir=*]}
    if (( at )); then
        dir=(--dir ${(Q)~line[at + 1]})
    elif [[ -n $joined ]]; then
        dir=(--dir ${(Q)${joined#--dir=}})
    fi
    names=(${(f)"$(command tango ls "${dir[@]}" 2>/dev/null)"})
    names=(${names[2,-1]%% *})
    local expl
    _wanted links expl link compadd -a names
}
