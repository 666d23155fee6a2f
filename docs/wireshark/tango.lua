-- A dissector for Wireshark and tshark: fragments of links, as `tango capture` writes them. README.md beside this file
-- describes the header, how to install this, and what to filter for.
--
-- It takes the packets of the link type USER0 (147) that begin with a header of version 1. Lua 5.2 and later.

-- Wireshark has a protocol TANGO already, for CORBA.
local tango = Proto("tango-link", "Fragment of a tango link")

-- The header, in bytes: docs/wireshark/README.md.
local VERSION = 1
local LENGTH = 48
local HAS_TIME, HAS_LOST, HAS_PRODUCER = 0x1, 0x2, 0x4
-- The bits of ctl.
local CONTINUES, MORE, ERROR, ORIGIN = 0x1, 0x2, 0x4, 0xfff8

local fields = {
    version = ProtoField.uint8("tango.version", "Header version", base.DEC),
    length = ProtoField.uint8("tango.header_len", "Header length", base.DEC),
    flags = ProtoField.uint16("tango.flags", "Flags", base.HEX),
    flag_time = ProtoField.bool("tango.flags.time", "Time of publishing known", 16, nil, HAS_TIME),
    flag_lost = ProtoField.bool("tango.flags.lost", "Fragments lost before", 16, nil, HAS_LOST),
    flag_producer = ProtoField.bool("tango.flags.producer", "Another producer", 16, nil, HAS_PRODUCER),
    ctl = ProtoField.uint16("tango.ctl", "Control", base.HEX),
    start = ProtoField.bool("tango.ctl.start", "First of its message", base.NONE),
    finish = ProtoField.bool("tango.ctl.end", "Last of its message", base.NONE),
    error = ProtoField.bool("tango.ctl.error", "Message damaged", 16, nil, ERROR),
    origin = ProtoField.uint16("tango.ctl.origin", "Origin", base.DEC, nil, ORIGIN),
    seq = ProtoField.uint64("tango.seq", "Sequence number", base.DEC),
    sig = ProtoField.uint64("tango.sig", "Sig", base.DEC_HEX),
    size = ProtoField.uint32("tango.size", "Payload size", base.DEC),
    ts = ProtoField.uint32("tango.ts", "Ts", base.DEC),
    time = ProtoField.absolute_time("tango.time", "Published", base.UTC),
    age = ProtoField.relative_time("tango.age", "Read after"),
    lost = ProtoField.uint64("tango.lost", "Fragments lost before this one", base.DEC),
    payload = ProtoField.bytes("tango.payload", "Payload"),
    cut = ProtoField.uint32("tango.cut", "Bytes of the payload not captured", base.DEC),
}
tango.fields = fields

local note_lost = ProtoExpert.new(
    "tango.expert.lost", "Fragments lost before this one", expert.group.SEQUENCE, expert.severity.WARN)
local note_producer = ProtoExpert.new(
    "tango.expert.producer", "Another producer", expert.group.SEQUENCE, expert.severity.NOTE)
local note_error = ProtoExpert.new(
    "tango.expert.error", "Message damaged", expert.group.PROTOCOL, expert.severity.WARN)
local note_header = ProtoExpert.new(
    "tango.expert.header", "Not a header that this dissector knows", expert.group.MALFORMED, expert.severity.ERROR)
tango.experts = { note_lost, note_producer, note_error, note_header }

tango.prefs.payload = Pref.string(
    "Payload dissector", "",
    "Dissectors for payloads: the name of one for all links (json), or names for some (quotes=json trades=protobuf)")

-- The interface of the packet, which is the link.
local interface_name = Field.new("frame.interface_name")
-- When the packet was read, with all of its digits.
local frame_time = Field.new("frame.time_epoch")

-- The dissector that the user has chosen for the payloads of this link, or nil. Also its name.
local function payload_dissector(link)
    local found
    for word in tango.prefs.payload:gmatch("[^%s,]+") do
        local of, name = word:match("^([^=]+)=(.+)$")
        if of == nil then
            found = found or word
        elseif of == link then
            found = name
            break
        end
    end
    if found == nil then return nil end
    -- An unknown name is an error in some versions, and nil in others.
    local is_known, dissector = pcall(Dissector.get, found)
    return is_known and dissector or nil, found
end

-- Nanoseconds since 1970 as seconds and nanoseconds.
local function ns_time(ns)
    local second = UInt64(1000000000)
    return NSTime((ns / second):tonumber(), (ns % second):tonumber())
end

function tango.dissector(buffer, pinfo, tree)
    local captured = buffer:captured_len()
    local root = tree:add(tango, buffer())
    if captured < LENGTH or buffer(0, 1):uint() ~= VERSION or buffer(1, 1):uint() < LENGTH
        or buffer(1, 1):uint() > captured then
        root:add_proto_expert_info(note_header)
        pinfo.cols.info = "Unknown header"
        return 0
    end
    local len = buffer(1, 1):uint()
    local flags, ctl = buffer(2, 2):le_uint(), buffer(4, 2):le_uint()
    local seq, sig = buffer(8, 8):le_uint64(), buffer(16, 8):le_uint64()
    local size, lost = buffer(24, 4):le_uint(), buffer(40, 8):le_uint64()
    local is = function(word, bit) return word % (2 * bit) >= bit end
    local is_start, is_end = not is(ctl, CONTINUES), not is(ctl, MORE)

    local link = interface_name()
    link = link and tostring(link.value) or nil

    pinfo.cols.protocol = "Tango"
    local info = { "seq " .. tostring(seq), "sig " .. tostring(sig), size .. " bytes" }
    if is_start and not is_end then
        info[#info + 1] = "[start]"
    elseif not is_start then
        info[#info + 1] = is_end and "[end]" or "[middle]"
    end
    if is(ctl, ERROR) then info[#info + 1] = "[damaged]" end
    if is(flags, HAS_LOST) then table.insert(info, 1, "[" .. tostring(lost) .. " lost before]") end
    if is(flags, HAS_PRODUCER) then table.insert(info, 1, "[another producer]") end
    if link then table.insert(info, 1, link) end
    pinfo.cols.info = table.concat(info, " ")

    root:append_text(", seq " .. tostring(seq) .. ", " .. size .. " bytes")
    root:add(fields.version, buffer(0, 1))
    root:add(fields.length, buffer(1, 1))
    local branch = root:add_le(fields.flags, buffer(2, 2))
    branch:add_le(fields.flag_time, buffer(2, 2))
    branch:add_le(fields.flag_lost, buffer(2, 2))
    branch:add_le(fields.flag_producer, buffer(2, 2))
    branch = root:add_le(fields.ctl, buffer(4, 2))
    branch:add(fields.start, buffer(4, 2), is_start)
    branch:add(fields.finish, buffer(4, 2), is_end)
    branch:add_le(fields.error, buffer(4, 2))
    branch:add_le(fields.origin, buffer(4, 2))
    root:add_le(fields.seq, buffer(8, 8))
    root:add_le(fields.sig, buffer(16, 8))
    root:add_le(fields.size, buffer(24, 4))
    root:add_le(fields.ts, buffer(28, 4))
    if is(flags, HAS_TIME) then
        local published = ns_time(buffer(32, 8):le_uint64())
        root:add(fields.time, buffer(32, 8), published)
        local read = frame_time()
        if read then root:add(fields.age, read.value - published):set_generated() end
    end
    if is(flags, HAS_LOST) then
        root:add_le(fields.lost, buffer(40, 8)):add_proto_expert_info(
            note_lost, tostring(lost) .. " fragments lost before this one")
    end
    if is(flags, HAS_PRODUCER) then branch:add_proto_expert_info(note_producer) end
    if is(ctl, ERROR) then branch:add_proto_expert_info(note_error) end

    local kept = captured - len
    if kept < size then root:add(fields.cut, size - kept):set_generated() end
    if kept > 0 then
        local payload = buffer(len, kept)
        root:add(fields.payload, payload)
        local dissector, name = payload_dissector(link)
        if dissector then
            dissector:call(payload:tvb(), pinfo, tree)
        elseif name then
            root:append_text(", no dissector named " .. name)
        end
    end
    return captured
end

local encapsulations = wtap_encaps or wtap
DissectorTable.get("wtap_encap"):add(encapsulations.USER0, tango)
