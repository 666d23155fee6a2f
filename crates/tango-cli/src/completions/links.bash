# The names of links, in the folder of --dir if the line has it.
_tango_links() {
    local i
    local -a dir=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == --dir ]]; then
            # bash splits --dir=FOLDER into three words.
            [[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))
            dir=(--dir "${COMP_WORDS[i + 1]}")
        fi
    done
    command tango ls "${dir[@]}" 2>/dev/null | sed '1d; s/ .*//'
}

_tango_with_links() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local i word before='' subcommand='' links=0
    local -a kept=()
    _tango "$@"
    # The script above offers the names of arguments, too, such as <LINK>.
    for word in "${COMPREPLY[@]}"; do
        [[ $word == [\<\[]* ]] || kept+=("$word")
    done
    COMPREPLY=("${kept[@]}")
    [[ $cur == -* || $cur == = ]] && return
    case $prev in
        @VALUES@ | =) return ;;
    esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $before in
            @VALUES@) ;;
            *)
                if [[ $word != -* && $word != = && $before != = ]]; then
                    if [[ -z $subcommand ]]; then subcommand=$word; else ((links++)); fi
                fi
                ;;
        esac
        before=$word
    done
    case $subcommand in
        @MANY@) ;;
        @ONE@) ((links == 0)) || return ;;
        *) return ;;
    esac
    while read -r word; do
        COMPREPLY+=("$word")
    done < <(compgen -W "$(_tango_links)" -- "$cur")
}

complete -F _tango_with_links -o bashdefault -o default tango
