internal import CLoad

let usage = """
    usage: load MODE [NAME=VALUE...]
      server port=5201 [bind=::]
      up | down | both    to=ADDRESS port=5201 streams=1 seconds=2 congestion=cubic|bbr
      check-up|check-down to=ADDRESS bytes=209715200
      rr | crr            to=ADDRESS size=1 seconds=2 | count=1000
      hold                to=ADDRESS count=1000 (until standard input ends)
      udp-up | udp-down   to=ADDRESS size=1400 rate=0 seconds=2
      udp-rr              to=ADDRESS size=24 seconds=2 | count=1000
      machine             socket=PATH interface=eth0: a virtual machine for passt, of this network namespace's kernel
      vhost-machine       socket=PATH interface=eth0: the same for passt --vhost-user
      bare-up | bare-down socket=PATH from=198.51.100.1 to=198.51.100.2 mtu=1500 seconds=2: a machine that is a single connection
      clock               the monotonic clock in nanoseconds

    """

func say(_ text: String) { put(text + "\n", 1) }

func put(_ text: String, _ descriptor: Int32) {
    let bytes = Array(text.utf8)
    _ = unsafe write(descriptor, bytes, bytes.count)  // SAFETY: the array lives as long as the call.
}

func fail(_ text: String) -> Never {
    put("load: \(text)\n", 2)
    exit(1)
}

/// The streams that a bulk mode runs.
func plan(_ mode: String, _ arguments: Arguments, id: UInt64) -> BulkClient.Plan {
    let streams = arguments.integer("streams", 1)
    var plan = BulkClient.Plan()
    plan.up = mode == "down" || mode == "check-down" ? 0 : streams
    plan.down = mode == "up" || mode == "check-up" ? 0 : streams
    plan.nanoseconds = arguments.seconds(2)
    plan.congestion = UInt8(Request.names.firstIndex(of: arguments.text("congestion")) ?? 0)
    if mode.hasPrefix("check") { plan.checkedBytes = arguments.integer("bytes", 200 << 20) }
    plan.id = id
    return plan
}

func client(_ mode: String, _ arguments: Arguments) -> Line? {
    guard let to = Address(arguments.text("to"), port: arguments.integer("port", 5201)) else { fail("no address to=") }
    let size = max(1, min(65536, arguments.integer("size", mode.hasPrefix("udp") ? 1400 : 1)))
    let rate = max(0, arguments.integer("rate", 0))
    let count = arguments.integer("count", .max)
    let time = count == .max ? arguments.seconds(2) : arguments.seconds(600)
    let id = UInt64(load_now()) &* 0x9e37_79b9_7f4a_7c15
    switch mode {
    case "up", "down", "both", "check-up", "check-down": return BulkClient.run(to, plan(mode, arguments, id: id))
    case "rr": return TransactionClient.exchange(to, size: size, nanoseconds: time, count: count)
    case "crr": return TransactionClient.connections(to, size: size, nanoseconds: time, count: count)
    case "udp-up": return DatagramClient.up(to, size: size, rate: rate, nanoseconds: time, id: id)
    case "udp-down": return DatagramClient.down(to, size: size, rate: rate, nanoseconds: time)
    case "udp-rr": return DatagramClient.exchange(to, size: min(size, arguments.integer("size", 24)), nanoseconds: time, count: count)
    case "hold":
        TransactionClient.hold(to, count: arguments.integer("count", 1000))
        exit(0)
    default: fail("unknown mode \(mode)\n\(usage)")
    }
}

let mode = CommandLine.arguments.dropFirst().first ?? ""
if mode == "clock" {
    say(String(load_now()))
    exit(0)
}
guard !mode.isEmpty, let arguments = Arguments(CommandLine.arguments.dropFirst(2)) else {
    put(usage, 2)
    exit(2)
}
load_raise_limits()
if mode == "machine" || mode == "vhost-machine" {
    let (socket, interface) = (arguments.text("socket"), arguments.text("interface", "eth0"))
    let status = unsafe mode == "machine" ? load_machine(socket, interface) : load_vhost_machine(socket, interface)
    if status != 0 { fail("\(mode): error \(-status)") }
    exit(0)
}
if mode == "bare-up" || mode == "bare-down" {
    var request = Request(mode == "bare-up" ? .sink : .source)
    request.amount = UInt64(arguments.seconds(2))
    var bytes: Int64 = 0, time: Int64 = 0
    // SAFETY: strings and bytes live as long as the call, which writes two numbers.
    let status = unsafe load_bare(
        arguments.text("socket"), arguments.text("from", "198.51.100.1"), arguments.text("to"), Int32(clamping: arguments.integer("mtu", 1500)),
        mode == "bare-up" ? 1 : 0, request.bytes, Int32(Request.size), arguments.seconds(2), &bytes, &time)
    if status != 0 { fail("\(mode): error \(-status)") }
    var line = Line()
    line.add("bytes", Int(bytes))
    line.add("nanoseconds", Int(time))
    say(line.json)
    exit(0)
}
if mode == "server" {
    guard let address = Address(arguments.text("bind", "::"), port: arguments.integer("port", 5201)),
          var server = Server(address) else { fail("cannot serve there") }
    say("ready")
    server.run()
}
guard let line = client(mode, arguments) else { fail("\(mode): no connection") }
say(line.json)
