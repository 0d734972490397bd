/// Reading /etc/passwd and /etc/group (passwd(5), group(5)) without the C library, whose look-ups load plugins.
struct AccountFiles {
    struct Account: Equatable {
        var name: String
        var user: UInt32
        var group: UInt32
    }

    private let accounts: [Account]
    private let groups: [(name: String, number: UInt32)]

    /// The contents of both files. Lines that make no sense are left out.
    init(passwd: [UInt8], group: [UInt8]) {
        accounts = AccountFiles.lines(of: passwd).compactMap { fields in
            guard fields.count >= 4, !fields[0].isEmpty, let user = UInt32(fields[2]), let group = UInt32(fields[3]) else { return nil }
            return Account(name: String(fields[0]), user: user, group: group)
        }
        groups = AccountFiles.lines(of: group).compactMap { fields in
            guard fields.count >= 3, !fields[0].isEmpty, let number = UInt32(fields[2]) else { return nil }
            return (String(fields[0]), number)
        }
    }

    private static func lines(of file: [UInt8]) -> [[Substring]] {
        String(decoding: file, as: UTF8.self).split(separator: "\n").map { $0.split(separator: ":", omittingEmptySubsequences: false) }
    }

    func account(named name: Substring) -> Account? { accounts.first { $0.name == name } }
    func account(number: UInt32) -> Account? { accounts.first { $0.user == number } }
    func group(named name: Substring) -> UInt32? { groups.first { $0.name == name }?.number }
}
