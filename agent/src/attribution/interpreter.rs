//! What an interpreter runs: the script, module, jar or main class among its arguments.
//!
//! Each interpreter's own rules for its flags decide, because the value of a flag must not be taken for a script: it would
//! leave the node as part of a name. Where an unknown flag may take a value, only a name with a script's extension is taken.

use super::text::base_name;

/// Longest name of a script, module or class.
const SCRIPT_BYTES_MAX: usize = 64;

/// How an interpreter reads its command line.
#[derive(Debug)]
pub(super) struct Interpreter {
    /// Name without version.
    name: &'static str,
    /// The major version is part of the usual name (`python3`).
    versioned: bool,
    /// One-letter flags can be joined (`-Bu`), the last one taking a value from the rest or the next argument.
    joined: bool,
    /// Flags whose value is the code itself, or that read it from standard input.
    inline: &'static [&'static str],
    /// Flags whose value names what is run.
    module: &'static [&'static str],
    /// Other flags with a value in the next argument.
    valued: &'static [&'static str],
    /// Words before the script (`deno run`).
    verbs: &'static [&'static str],
    /// Long flags that are not listed may take the next argument as their value.
    open_ended: bool,
    /// Usual endings of scripts.
    extensions: &'static [&'static str],
}

const PLAIN: Interpreter = Interpreter {
    name: "",
    versioned: false,
    joined: false,
    inline: &[],
    module: &[],
    valued: &[],
    verbs: &[],
    open_ended: false,
    extensions: &[],
};

const SHELL: Interpreter = Interpreter {
    joined: true,
    inline: &["-c", "-s"],
    valued: &["-o", "-O", "--rcfile", "--init-file"],
    ..PLAIN
};

const PYTHON: Interpreter = Interpreter {
    versioned: true,
    joined: true,
    inline: &["-c"],
    module: &["-m"],
    valued: &["-W", "-X", "-Q", "--check-hash-based-pycs"],
    ..PLAIN
};

const JAVASCRIPT: Interpreter = Interpreter {
    inline: &["-e", "--eval", "-p", "--print", "-pe", "-i", "--interactive"],
    valued: &[
        "-r",
        "--require",
        "--import",
        "--loader",
        "--experimental-loader",
        "-C",
        "--conditions",
        "--title",
        "--env-file",
    ],
    verbs: &["run", "serve", "task"],
    open_ended: true,
    extensions: &[".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".jsx", ".tsx"],
    ..PLAIN
};

const TABLE: [Interpreter; 18] = [
    Interpreter {
        name: "python",
        ..PYTHON
    },
    Interpreter {
        name: "pypy",
        ..PYTHON
    },
    Interpreter {
        name: "node",
        verbs: &[],
        ..JAVASCRIPT
    },
    Interpreter {
        name: "nodejs",
        verbs: &[],
        ..JAVASCRIPT
    },
    Interpreter {
        name: "deno",
        ..JAVASCRIPT
    },
    Interpreter {
        name: "bun",
        ..JAVASCRIPT
    },
    Interpreter {
        name: "java",
        module: &["-jar", "-m", "--module"],
        valued: &[
            "-cp",
            "-classpath",
            "--class-path",
            "-p",
            "--module-path",
            "--upgrade-module-path",
            "--add-modules",
            "--limit-modules",
            "--add-opens",
            "--add-exports",
            "--add-reads",
            "--patch-module",
            "--source",
        ],
        ..PLAIN
    },
    Interpreter {
        name: "ruby",
        joined: true,
        inline: &["-e"],
        valued: &[
            "-r",
            "-I",
            "-C",
            "-E",
            "--encoding",
            "--external-encoding",
            "--internal-encoding",
        ],
        ..PLAIN
    },
    Interpreter {
        name: "php",
        joined: true,
        inline: &[
            "-r",
            "-B",
            "-R",
            "-E",
            "--run",
            "--process-begin",
            "--process-code",
            "--process-end",
        ],
        module: &["-f", "-F", "--file", "--process-file"],
        valued: &[
            "-c",
            "-d",
            "-S",
            "-t",
            "-z",
            "-g",
            "--php-ini",
            "--define",
            "--server",
            "--docroot",
            "--zend-extension",
        ],
        ..PLAIN
    },
    Interpreter {
        name: "perl",
        joined: true,
        inline: &["-e", "-E"],
        valued: &["-I"],
        ..PLAIN
    },
    Interpreter {
        name: "lua",
        inline: &["-e", "-i"],
        valued: &["-l"],
        ..PLAIN
    },
    Interpreter {
        name: "dotnet",
        valued: &[
            "--runtimeconfig",
            "--depsfile",
            "--additionalprobingpath",
            "--fx-version",
            "--roll-forward",
            "--project",
        ],
        verbs: &["exec", "run"],
        open_ended: true,
        extensions: &[".dll", ".exe"],
        ..PLAIN
    },
    Interpreter { name: "sh", ..SHELL },
    Interpreter {
        name: "bash",
        ..SHELL
    },
    Interpreter {
        name: "dash",
        ..SHELL
    },
    Interpreter { name: "ash", ..SHELL },
    Interpreter { name: "ksh", ..SHELL },
    Interpreter { name: "zsh", ..SHELL },
];

/// What is run: its position among the arguments (0 is the program) and its name for the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) index: usize,
    pub(super) name: String,
}

impl Interpreter {
    /// By the base name of an executable, version ignored: `python3.11`, `php8.2`.
    pub(super) fn of(program: &str) -> Option<&'static Self> {
        let stem = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        let stem = if stem.is_empty() { program } else { stem };
        TABLE.iter().find(|interpreter| interpreter.name == stem)
    }

    /// `python3` for `python3.11`, `php` for `php8.2`, `node` for `nodejs`.
    pub(super) fn display_name(&self, program: &str) -> String {
        if self.name == "nodejs" {
            return "node".to_owned();
        }
        let version = program.strip_prefix(self.name).unwrap_or_default();
        let major: String = version.chars().take_while(char::is_ascii_digit).collect();
        if self.versioned {
            format!("{}{major}", self.name)
        } else {
            self.name.to_owned()
        }
    }

    /// True for a flag that the table knows by its whole name: the name says nothing secret.
    pub(super) fn knows_flag(&self, flag: &str) -> bool {
        [self.inline, self.module, self.valued]
            .iter()
            .any(|flags| flags.contains(&flag))
    }

    /// Finds the script among `args`, the program's own name included as the first.
    pub(super) fn script(&self, args: &[&str]) -> Option<Script> {
        let mut index = 1;
        let mut value_possible = false;
        let mut verb_possible = true;
        while let Some(arg) = args.get(index) {
            let is_flag = arg.len() > 1 && arg.starts_with('-');
            if *arg == "-" {
                return None;
            } else if *arg == "--" {
                return self.named(args, index + 1);
            } else if is_flag {
                match self.flag(arg) {
                    Flag::Inline => return None,
                    Flag::Module => return self.named(args, index + 1),
                    Flag::ModuleJoined(name) => return script(index, name),
                    Flag::Valued => index += 1,
                    Flag::Unknown => {
                        value_possible = self.open_ended && arg.starts_with("--") && !arg.contains('=')
                    }
                    Flag::Plain => value_possible = false,
                }
            } else if arg.starts_with('@') && self.name == "java" {
                // A file with more arguments.
            } else if verb_possible && self.verbs.contains(arg) {
                verb_possible = false;
            } else if value_possible && !self.extensions.iter().any(|ext| arg.ends_with(ext)) {
                value_possible = false;
            } else {
                return self.named(args, index);
            }
            index += 1;
        }
        None
    }

    fn named(&self, args: &[&str], index: usize) -> Option<Script> {
        let name = base_name(args.get(index)?);
        if self.name == "java"
            && !name.ends_with(".jar")
            && !name.ends_with(".war")
            && !name.ends_with(".java")
        {
            return script(index, name.rsplit('.').next().unwrap_or(name));
        }
        script(index, name)
    }

    fn flag<'a>(&self, arg: &'a str) -> Flag<'a> {
        if self.inline.contains(&arg) {
            return Flag::Inline;
        } else if self.module.contains(&arg) {
            return Flag::Module;
        } else if self.valued.contains(&arg) {
            return Flag::Valued;
        } else if !self.joined || arg.starts_with("--") {
            return Flag::Unknown;
        }
        for (at, letter) in arg.char_indices().skip(1) {
            let end = at + letter.len_utf8();
            let rest = arg.get(end..).unwrap_or_default();
            let has = |flags: &[&str]| {
                flags
                    .iter()
                    .any(|f| f.strip_prefix('-').is_some_and(|f| f.chars().eq([letter])))
            };
            if has(self.inline) {
                return Flag::Inline;
            } else if has(self.module) {
                return if rest.is_empty() {
                    Flag::Module
                } else {
                    Flag::ModuleJoined(rest)
                };
            } else if has(self.valued) {
                return if rest.is_empty() {
                    Flag::Valued
                } else {
                    Flag::Plain
                };
            } else if !letter.is_ascii_alphabetic() || (self.name == "perl" && "MmCDFilx".contains(letter)) {
                return Flag::Plain;
            }
        }
        Flag::Plain
    }
}

enum Flag<'a> {
    Inline,
    Module,
    ModuleJoined(&'a str),
    Valued,
    Plain,
    Unknown,
}

fn script(index: usize, name: &str) -> Option<Script> {
    is_plain_name(name).then(|| Script {
        index,
        name: name.to_owned(),
    })
}

/// True for what can be the name of a script, and not a secret that stands in its place.
pub(super) fn is_plain_name(name: &str) -> bool {
    name.len() <= SCRIPT_BYTES_MAX
        && name
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.+-".contains(&b))
        && !is_random(name)
}

/// True when a part of `text` looks generated: nine digits or more, or 16 characters and more that mix three digits with
/// three letters.
pub(super) fn is_random(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        digits >= 9 || (part.len() >= 16 && digits >= 3 && part.len() - digits >= 3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts() {
        let cases: &[(&str, &str, Option<&str>)] = &[
            ("python3.11", "python3 app.py", Some("app.py")),
            ("python3", "python3 -u /srv/app.py --port 80", Some("app.py")),
            ("python3", "python3 -m http.server 8080", Some("http.server")),
            ("python3", "python3 -um http.server", Some("http.server")),
            ("python3", "python3 -mhttp.server", Some("http.server")),
            ("python3", "python3 -W ignore -X dev app.py", Some("app.py")),
            ("python3", "python3 -c secret", None),
            ("python3", "python3 -Bc secret", None),
            ("python3", "python3 - app.py", None),
            ("python3", "python3", None),
            ("node", "node server.js", Some("server.js")),
            (
                "node",
                "node --max-old-space-size=4096 dist/main.js",
                Some("main.js"),
            ),
            ("node", "node -r dotenv/config server.js", Some("server.js")),
            ("node", "node --unknown s3cret server.js", Some("server.js")),
            ("node", "node --unknown s3cret", None),
            ("node", "node --inspect server.mjs", Some("server.mjs")),
            ("node", "node -e secret()", None),
            ("node", "node run", Some("run")),
            ("deno", "deno run --allow-net main.ts", Some("main.ts")),
            (
                "java",
                "java -Xmx1g -Dpassword=x -jar /opt/app.jar --server.port=1",
                Some("app.jar"),
            ),
            ("java", "java -cp /a:/b com.example.Main arg", Some("Main")),
            (
                "java",
                "java --enable-preview -classpath /a com.example.Main",
                Some("Main"),
            ),
            ("java", "java @args com.example.Main", Some("Main")),
            ("java", "java -m mod.name/com.example.Main", Some("Main")),
            ("java", "java --module-path x", None),
            ("ruby", "ruby -rjson -I lib app.rb", Some("app.rb")),
            ("ruby", "ruby -e secret", None),
            (
                "php8.2",
                "php -S 127.0.0.1:80 -t /srv router.php",
                Some("router.php"),
            ),
            ("php", "php -S 127.0.0.1:80", None),
            ("php", "php -dmemory_limit=1G -f index.php", Some("index.php")),
            ("perl", "perl -w -Mstrict daemon.pl", Some("daemon.pl")),
            ("perl", "perl -ne secret", None),
            ("bash", "bash -euo pipefail run.sh", Some("run.sh")),
            ("sh", "sh -c secret", None),
            ("sh", "sh -ec secret", None),
            ("bash", "bash -- run.sh", Some("run.sh")),
            ("dotnet", "dotnet /app/Api.dll", Some("Api.dll")),
            ("dotnet", "dotnet exec --depsfile x Api.dll", Some("Api.dll")),
            ("python3", "python3 4f3c8a1be2d94a0c9d7e6f5a4b3c2d1e", None),
            ("python3", "python3 user:pass@host", None),
        ];
        for (program, line, expected) in cases {
            let args: Vec<&str> = line.split(' ').collect();
            let found = Interpreter::of(program).unwrap().script(&args);
            assert_eq!(found.as_ref().map(|s| s.name.as_str()), *expected, "{line}");
        }
    }

    #[test]
    fn names() {
        for (program, expected) in [
            ("python3.11", Some("python3")),
            ("python", Some("python")),
            ("python2.7", Some("python2")),
            ("pypy3", Some("pypy3")),
            ("nodejs", Some("node")),
            ("ruby3.1", Some("ruby")),
            ("php8.2", Some("php")),
            ("perl5.36.0", Some("perl")),
            ("nginx", None),
            ("php-fpm8.2", None),
            ("7", None),
            ("", None),
        ] {
            let name = Interpreter::of(program).map(|i| i.display_name(program));
            assert_eq!(name.as_deref(), expected, "{program}");
        }
    }

    #[test]
    fn generated_names() {
        for name in ["4f3c8a1be2d94a0c9d", "x-123456789", "sk_live_51H8x9aBcDeFgHiJk"] {
            assert!(is_random(name), "{name}");
        }
        for name in [
            "app.py",
            "SpringBootAdminServerApplication",
            "api-v2-service",
            "2024-01-01-report.py",
        ] {
            assert!(!is_random(name), "{name}");
        }
    }
}
