# The names of links, in the folder of --dir if the line has it.
function __tango_links
    set -l words (commandline -opc)
    set -l dir
    for at in (seq (count $words))
        if test $words[$at] = --dir
            set dir --dir $words[(math $at + 1)]
        else if string match -q -- '--dir=*' $words[$at]
            set dir $words[$at]
        end
    end
    command tango ls $dir 2>/dev/null | tail -n +2 | string replace -r ' .*' ''
end

complete -c tango -n "__fish_seen_subcommand_from @ONE@" -f -a "(__tango_links)"
