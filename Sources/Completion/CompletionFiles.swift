internal import Settings

/// The files to install, by path below a folder.
package enum CompletionFiles {
    package static var all: [(path: String, text: String)] {
        [
            ("bash/passt", BashScript.text()), ("zsh/_passt", ZshScript.text()), ("fish/pasta.fish", FishScript.text(.pasta)),
            ("fish/passt.fish", FishScript.text(.passt)), ("fish/pesto.fish", FishScript.pesto),
            ("fish/passt-repair.fish", FishScript.passtRepair),
            ("fish/passt4netns.fish", FishScript.alias), ("fish/qrap.fish", FishScript.qrap),
        ]
    }
}
