// path-emulator a=NAMESPACE:INTERFACE b=NAMESPACE:INTERFACE [seed=N] [CONDITION...]
//
// Prints `ready`, then obeys lines on standard input; prints its counters when told to end.

private import Glibc
private import PathEmulator

let usage = """
    usage: path-emulator a=NAMESPACE:INTERFACE b=NAMESPACE:INTERFACE [seed=N] [CONDITION...]
    conditions, both ways or after ab: or ba: one way:
      delay=25ms rate=1gbit queue=1mb|1000p loss=1% reorder=5% hold=2ms duplicate=0.1% cut=10s+5s cut=on|off clear
    the same words in lines on standard input change them; the line `stats` prints the counters

    """

func fail(_ text: String) -> Never {
    // SAFETY: a terminated string during the call.
    _ = unsafe (text + "\n").withCString { unsafe write(2, $0, strlen($0)) }
    exit(1)
}

var (a, b, seed) = ("", "", UInt64(1))
var conditions: [Substring] = []
for argument in CommandLine.arguments.dropFirst() {
    if argument.hasPrefix("a=") { a = String(argument.dropFirst(2)) }
    else if argument.hasPrefix("b=") { b = String(argument.dropFirst(2)) }
    else if argument.hasPrefix("seed="), let number = UInt64(argument.dropFirst(5)) { seed = number }
    else { conditions.append(Substring(argument)) }
}
if a.isEmpty || b.isEmpty { fail(usage) }
do throws(EmulatorError) {
    var emulator = try Emulator(a: a, b: b, seed: seed)
    if let wrong = emulator.apply(conditions) { fail("path-emulator: \(wrong)\n\(usage)") }
    emulator.run()
} catch {
    fail("path-emulator: \(error.text)")
}
