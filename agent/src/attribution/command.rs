//! A process's command line, made safe to leave the node.
//!
//! Shown are the program (the first word of the first argument: daemons rewrite theirs), the script of an interpreter, and
//! the names of flags. All else is `…`: values of flags (`--password=…`, `-p…`), every positional argument, `KEY=value`,
//! URLs, inline code. A list of what may be shown cannot forget a kind of secret; a list of what to hide can. Whatever looks
//! generated in a shown path or name is masked too.

use super::interpreter::{Interpreter, Script, is_random};
use super::text::{MASK, base_name, clean, clean_path};

/// Longest command shown.
pub(super) const COMMAND_BYTES_MAX: usize = 512;
/// Arguments looked at.
const ARGS_MAX: usize = 64;
/// Longest argument looked at; a longer one is cut, and never shown but for its path's end.
const ARG_BYTES_MAX: usize = 1024;
/// Longest name of a flag.
const FLAG_BYTES_MAX: usize = 48;
/// Longest base name of a program.
const PROGRAM_BYTES_MAX: usize = 64;

/// A command line, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// For people: masked, at most [`COMMAND_BYTES_MAX`] bytes.
    pub(super) shown: String,
    /// For the workload's name: `nginx`, `python3:app.py`.
    pub(super) program: String,
}

/// Reads NUL separated arguments. `executable` is the path of the program, already sanitised.
pub(super) fn describe(executable: &str, args: &[u8]) -> Command {
    let args = split(args);
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    let executable = clean(base_name(executable).as_bytes(), PROGRAM_BYTES_MAX);
    // busybox and its like are many programs in one; which one is said by the first argument.
    let multi_call = executable.starts_with("busybox");
    let shift = usize::from(
        multi_call
            && args
                .first()
                .is_some_and(|arg| base_name(arg).starts_with("busybox")),
    );
    let applet = if multi_call {
        args.get(shift).and_then(|arg| applet_of(arg))
    } else {
        None
    };
    let applet = applet.map(str::to_owned);
    let interpreter = Interpreter::of(applet.as_deref().unwrap_or(&executable));
    let script = interpreter.and_then(|i| i.script(args.get(shift..).unwrap_or_default()));
    let script = script.map(|script| Script {
        index: script.index + shift,
        ..script
    });
    let shown = mask(
        &executable,
        &args,
        shift,
        applet.as_deref(),
        interpreter,
        script.as_ref(),
    );
    args.clear();
    let base = match (interpreter, applet) {
        (Some(interpreter), Some(applet)) => interpreter.display_name(&applet),
        (Some(interpreter), None) => interpreter.display_name(&executable),
        (None, Some(applet)) => format!("{executable}:{applet}"),
        (None, None) => executable,
    };
    let program = script.map_or_else(|| base.clone(), |script| format!("{base}:{}", script.name));
    Command { shown, program }
}

fn split(args: &[u8]) -> Vec<String> {
    let end = args.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    let args = args.get(..end).unwrap_or_default();
    if args.is_empty() {
        return Vec::new();
    }
    args.split(|b| *b == 0)
        .take(ARGS_MAX)
        .map(|arg| clean_path(arg, ARG_BYTES_MAX))
        .collect()
}

fn mask(
    executable: &str,
    args: &[&str],
    applet_at: usize,
    applet: Option<&str>,
    interpreter: Option<&Interpreter>,
    script: Option<&Script>,
) -> String {
    let mut shown = Shown::default();
    for (index, arg) in args.iter().enumerate() {
        if index == 0 {
            let (word, rest) = arg
                .split_once(char::is_whitespace)
                .map_or((*arg, ""), |(word, rest)| (word, rest));
            shown.push(&masked_path(word).unwrap_or_else(|| executable.to_owned()));
            if !rest.trim().is_empty() {
                shown.push(MASK);
            }
        } else if index == applet_at && applet.is_some() {
            shown.push(applet.unwrap_or_default());
        } else if script.is_some_and(|script| script.index == index) {
            // A module joined to its flag is shown by name.
            let name = script.map(|script| script.name.as_str()).unwrap_or_default();
            let path = if arg.starts_with('-') {
                None
            } else {
                masked_path(arg)
            };
            shown.push(&path.unwrap_or_else(|| name.to_owned()));
        } else {
            shown.push(&masked_flag(arg, interpreter));
        }
    }
    if args.is_empty() {
        shown.push(executable);
    }
    shown.text
}

/// Words joined by spaces, runs of masks as one, cut at a word.
#[derive(Default)]
struct Shown {
    text: String,
    masked: bool,
    full: bool,
}

impl Shown {
    fn push(&mut self, word: &str) {
        let is_mask = word == MASK;
        if self.full || (is_mask && self.masked) {
            return;
        }
        let room = COMMAND_BYTES_MAX - MASK.len() - 1;
        let word = if self.text.len() + 1 + word.len() > room {
            self.full = true;
            if self.masked {
                return;
            }
            MASK
        } else {
            word
        };
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(word);
        self.masked = is_mask || self.full;
    }
}

/// The name of a flag without its value, or the mask.
fn masked_flag(arg: &str, interpreter: Option<&Interpreter>) -> String {
    if interpreter.is_some_and(|i| i.knows_flag(arg)) || arg == "--" || arg == "-" {
        return arg.to_owned();
    }
    if let Some(long) = arg.strip_prefix("--") {
        let (name, value) = long
            .split_once('=')
            .map_or((long, None), |(name, value)| (name, Some(value)));
        let plain = name.len() <= FLAG_BYTES_MAX
            && name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
            && !is_random(name);
        return match (plain, value) {
            (true, None) => format!("--{name}"),
            (true, Some(_)) => format!("--{name}={MASK}"),
            (false, _) => MASK.to_owned(),
        };
    }
    let mut chars = arg.chars();
    match (chars.next(), chars.next(), chars.next()) {
        (Some('-'), Some(letter), None) if letter.is_ascii_alphabetic() => format!("-{letter}"),
        // The value may be joined: `-psecret`.
        (Some('-'), Some(letter), Some(_)) if letter.is_ascii_alphabetic() => format!("-{letter}{MASK}"),
        _ => MASK.to_owned(),
    }
}

/// A path with generated parts masked; `None` when it is no plain path.
fn masked_path(path: &str) -> Option<String> {
    let plain = |part: &str| {
        let name = part.strip_prefix('@').unwrap_or(part);
        name.chars().all(|c| c.is_alphanumeric() || "_.+-…".contains(c))
    };
    // A rewritten title ends its name with a colon.
    let title = path.strip_suffix(':').unwrap_or(path);
    if path.is_empty() || !title.split('/').all(plain) {
        return None;
    }
    let parts: Vec<&str> = path
        .split('/')
        .map(|part| if is_random(part) { MASK } else { part })
        .collect();
    Some(parts.join("/"))
}

/// Name of an applet: `httpd`, `-sh` for a login shell.
fn applet_of(arg: &str) -> Option<&str> {
    let name = base_name(arg);
    let name = name.strip_prefix('-').unwrap_or(name);
    let plain = !name.is_empty()
        && name.len() <= 32
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-[".contains(&b))
        && !is_random(name);
    plain.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(executable: &str, line: &str, shown: &str, program: &str) {
        let args = line.replace(' ', "\0");
        let command = describe(executable, args.as_bytes());
        assert_eq!(
            (command.shown.as_str(), command.program.as_str()),
            (shown, program),
            "{line}"
        );
    }

    #[test]
    fn values_and_positional_arguments_are_masked() {
        check("/usr/sbin/nginx", "nginx -g daemon", "nginx -g …", "nginx");
        check(
            "/usr/bin/curl",
            "curl --user=alice:x -u bob:y http://a:b@h/",
            "curl --user=… -u …",
            "curl",
        );
        check(
            "/usr/bin/mysql",
            "mysql -psecret --password=x -p secret",
            "mysql -p… --password=… -p …",
            "mysql",
        );
        check("/usr/bin/env", "env KEY=val TOKEN=x app", "env …", "env");
        check(
            "/app",
            "/app --listen 0.0.0.0:80 --verbose",
            "/app --listen … --verbose",
            "app",
        );
        check("/app", "/app --4f3c8a1be2d94a0c9d", "/app …", "app");
        check("/app", "/app -- x -1 -", "/app -- … -", "app");
    }

    #[test]
    fn interpreters_show_their_script() {
        check(
            "/usr/bin/python3.11",
            "python3 -u /srv/app.py --key k1 x",
            "python3 -u /srv/app.py --key …",
            "python3:app.py",
        );
        check(
            "/usr/bin/java",
            "java -Dpw=x -jar /o/a.jar --p=1",
            "java -D… -jar /o/a.jar --p=…",
            "java:a.jar",
        );
        check(
            "/usr/bin/java",
            "java -cp /o/* com.example.Main x",
            "java -cp … com.example.Main …",
            "java:Main",
        );
        check("/bin/dash", "sh -c secret", "sh -c …", "dash");
        check(
            "/usr/bin/python3",
            "python3 -mhttp.server",
            "python3 http.server",
            "python3:http.server",
        );
        check(
            "/bin/busybox",
            "busybox httpd -f -p 80",
            "busybox httpd -f -p …",
            "busybox:httpd",
        );
        check("/bin/busybox", "httpd -f", "httpd -f", "busybox:httpd");
        check("/bin/busybox", "sh /run.sh", "sh /run.sh", "sh:run.sh");
        check(
            "/bin/busybox",
            "busybox sh /run.sh x",
            "busybox sh /run.sh …",
            "sh:run.sh",
        );
    }

    #[test]
    fn rewritten_titles_lose_what_follows_the_name() {
        let title = describe(
            "/usr/sbin/nginx",
            b"nginx: master process /usr/sbin/nginx -g secret",
        );
        assert_eq!(title.shown, "nginx: …");
        let odd = describe("/usr/bin/x", b"postgres://u:p@h/db\0");
        assert_eq!(odd.shown, "x");
        assert_eq!(describe("/usr/bin/x", b"user:pass@host").shown, "x");
        assert_eq!(describe("/usr/bin/x", b"").shown, "x");
        assert_eq!(describe("/usr/bin/x", b"\0\0").shown, "x");
    }

    #[test]
    fn generated_path_parts_are_masked() {
        let command = describe("/usr/bin/python3", b"python3\0/run/4f3c8a1be2d94a0c9d7e/app.py");
        assert_eq!(command.shown, "python3 /run/…/app.py");
    }

    #[test]
    fn hostile_arguments() {
        let line = [
            b"\xff\x1b[2J\n".repeat(2000),
            b"\0--a\nb=c\0-\x1bx\0".to_vec(),
            b"-q\0".repeat(5000),
        ]
        .concat();
        let command = describe("/x/\u{fffd}", &line);
        assert!(
            command.shown.len() <= COMMAND_BYTES_MAX,
            "{}",
            command.shown.len()
        );
        assert!(!command.shown.chars().any(char::is_control));
        let long = vec![b'a'; 1 << 20];
        assert!(describe("/x", &long).shown.len() <= COMMAND_BYTES_MAX);
        let flags = (0..100)
            .map(|i| format!("--{}{i}\0", "flag".repeat(10)))
            .collect::<String>();
        let cut = describe("/x", flags.as_bytes()).shown;
        assert!(cut.len() <= COMMAND_BYTES_MAX && cut.ends_with(" …"), "{cut}");
    }

    proptest::proptest! {
        #[test]
        fn no_value_is_ever_shown(secret in "[a-zA-Z0-9!@#$%:/=?&]{6,40}", place in 0_usize..6, program in 0_usize..4) {
            let secret = format!("zqx{secret}");
            let program = ["curl", "python3", "java", "node"][program];
            let secret_arg = match place {
                0 => format!("--password={secret}"),
                1 => format!("-p{secret}"),
                2 => format!("-p\0{secret}"),
                3 => format!("http://user:{secret}@host/"),
                4 => format!("KEY={secret}"),
                _ => format!("--define=x={secret}"),
            };
            // What runs comes first; what follows it are the program's own arguments.
            let script = ["", "app.py\0", "-jar\0app.jar\0", "app.js\0"];
            let script = script[["curl", "python3", "java", "node"].iter().position(|p| *p == program).unwrap()];
            let line = format!("{program}\0{script}{secret_arg}\0--last");
            let command = describe(&format!("/usr/bin/{program}"), line.as_bytes());
            proptest::prop_assert!(!command.shown.contains("zqx"), "{}", command.shown);
            proptest::prop_assert!(!command.program.contains("zqx"), "{}", command.program);
        }
    }
}
