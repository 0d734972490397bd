import Settings
import Testing

@testable import Setup

/// In by -t, out by -T, and in again.
extension OptionsTests {
    @Test("Circles", arguments: [
        ("-t 8080 -T 8080 --host-lo-to-ns-lo", "-t '8080' and -T '8080': connections to port 8080 would come back for ever"),
        ("-u 53 -U 53 --splice-only", "-u '53' and -U '53': connections to port 53 would come back for ever"),
        ("-t 8080:9090 -T 9090:8080 --host-lo-to-ns-lo", "-t '8080:9090' and -T '9090:8080': connections to port 8080 would come back for ever"),
        ("-t 8000-8010:9000-9010 -T 9005-9020:8005-8020 --splice-only", "-t '8000-8010:9000-9010' and -T '9005-9020:8005-8020': connections to port 8005 would come back for ever"),
        ("-t all -T 8080 --host-lo-to-ns-lo", "-t 'all' and -T '8080': connections to port 8080 would come back for ever"),
        ("-t all -T all --host-lo-to-ns-lo", "-t 'all' and -T 'all': connections to port 1 would come back for ever"),
        ("-t 127.0.0.1/80 -T [::1]/443,80 --splice-only", nil),
        ("-t 127.0.0.1/80 -T 127.0.0.1/443,80 --splice-only", "-t '127.0.0.1/80' and -T '127.0.0.1/443,80': connections to port 80 would come back for ever"),
        // Over two pairs: 1 to 2, and 2 to 1.
        ("-t 1:11,2:12 -T 11:2,12:1 --host-lo-to-ns-lo", "-t '1:11,2:12' and -T '11:2,12:1': connections to port 1 would come back for ever"),
        // The namespace's address, where a listener on any address hears it; and a target on loopback.
        ("-t 8080 -T 0.0.0.0/8080", "-t '8080' and -T '0.0.0.0/8080': connections to port 8080 would come back for ever"),
        ("-t 8080:127.0.0.1/8080 -T 8080", "-t '8080:127.0.0.1/8080' and -T '8080': connections to port 8080 would come back for ever"),
        // The namespace's address is not its loopback; other protocols, ports, interfaces; our own listeners are left out by auto.
        ("-t 8080 -T 8080", nil), ("-t all -T all", nil), ("-t 8080 -U 8080 --splice-only", nil), ("-t 8080 -T 8081 --splice-only", nil),
        ("-t 8080:8081 -T 8081:8082 --splice-only", nil), ("-t %eth0/8080 -T 8080 --splice-only", nil), ("-t 192.0.2.1/80 -T 80 --splice-only", nil),
        ("-t 8080 -T 8080:192.0.2.1/8080 --splice-only", nil), ("-t auto -T auto --splice-only", nil), ("-t 8080,auto -T auto --splice-only", nil),
        ("-t 1-1000:2-1001 -T 1-2000 --splice-only", nil),
    ] as [(String, String?)])
    func circlesAreRefused(_ line: String, _ message: String?) throws {
        let words = ["pasta"] + line.split(separator: " ").map(String.init)
        do throws(SetupError) {
            _ = try Options.parse(arguments: words, program: .pasta)
            #expect(message == nil)
        } catch {
            #expect(error.message == message && error.stage == .options)
        }
    }
}
