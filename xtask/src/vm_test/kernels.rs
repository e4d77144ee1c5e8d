//! Which kernels are booted, and which package of which suite holds them.

use anyhow::{Result, bail};

/// A kernel series and where it is had. Debian's cloud kernels boot in a VM without modules and have BTF, kprobes and fentry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    /// Major and minor number, as people name it.
    pub series: &'static str,
    /// Suites that hold it, of the archive of releases and of the archive of security updates.
    pub suites: &'static [(Archive, &'static str)],
    /// What these suites have moves on: where the series has gone, the next one there is taken.
    pub moves_on: bool,
    /// Providers whose hooks it has not, with the reason. Every other provider must work on it.
    pub lacks: &'static [(&'static str, &'static str)],
}

/// One of a distribution's archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archive {
    Releases,
    Security,
}

const NO_SOCK_LENGTH: (&str, &str) = ("sock-length", "its tracepoints are of 6.3");

/// Oldest first.
pub const KERNELS: [Kernel; 4] = [
    Kernel {
        series: "5.10",
        suites: &[
            (Archive::Security, "bullseye-security"),
            (Archive::Releases, "bullseye"),
        ],
        moves_on: false,
        lacks: &[NO_SOCK_LENGTH],
    },
    Kernel {
        series: "6.1",
        suites: &[
            (Archive::Security, "bookworm-security"),
            (Archive::Releases, "bookworm"),
        ],
        moves_on: false,
        lacks: &[NO_SOCK_LENGTH],
    },
    Kernel {
        series: "6.12",
        suites: &[
            (Archive::Security, "bookworm-security"),
            (Archive::Releases, "bookworm-backports"),
        ],
        moves_on: false,
        lacks: &[],
    },
    Kernel {
        series: "7.2",
        suites: &[(Archive::Releases, "sid")],
        moves_on: true,
        lacks: &[],
    },
];

/// One old and one new kernel, for every run of `test`: with every provider between them, and quick to boot.
pub const EVERY_RUN: [&str; 2] = ["6.1", "6.12"];

/// The kernels of these series, all when none is named.
pub fn choose(series: &[String]) -> Result<Vec<Kernel>> {
    if let Some(unknown) = series
        .iter()
        .find(|name| !KERNELS.iter().any(|kernel| kernel.series == name.as_str()))
    {
        let known: Vec<&str> = KERNELS.iter().map(|kernel| kernel.series).collect();
        bail!("there is no kernel `{unknown}`; there are {}", known.join(" "));
    }
    let wanted = |kernel: &Kernel| series.is_empty() || series.iter().any(|name| name == kernel.series);
    Ok(KERNELS.into_iter().filter(wanted).collect())
}

impl Kernel {
    /// Why this provider cannot work on it; `None` when it must.
    pub fn lack_of(&self, provider: &str) -> Option<&'static str> {
        self.lacks
            .iter()
            .find_map(|(name, reason)| (*name == provider).then_some(*reason))
    }
}

/// A kernel as apt lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    /// Debian's version.
    pub version: String,
    /// Of the package file, as the signed index has it.
    pub sha256: String,
}

/// What the names of packages start with: since some time an image is a frame around a package with the kernel itself.
pub const PREFIXES: [&str; 2] = [BINARY_PREFIX, "linux-image-"];
const BINARY_PREFIX: &str = "linux-binary-";

/// What the name of the package with the modules starts with, where they are not in the kernel's own.
const MODULES_PREFIX: &str = "linux-modules-";

/// Files with the modules that ways into a socket need, where the kernel was built with them: encryption of connections by AES-GCM. In
/// the order in which they are loaded; which of them are built in differs from kernel to kernel.
pub const MODULES: [&str; 6] = [
    "gf128mul.ko",
    "crypto_null.ko",
    "ghash-generic.ko",
    "ctr.ko",
    "gcm.ko",
    "tls.ko",
];

/// The package that holds the modules of the kernel in this one.
pub fn modules_package(package: &str) -> String {
    match package.strip_prefix(BINARY_PREFIX) {
        Some(release) => format!("{MODULES_PREFIX}{release}"),
        None => package.to_owned(),
    }
}

/// What the names of the packages of Debian's kernels for VMs end with.
const FLAVOUR: &str = "-cloud-amd64";

/// The series of the kernel that a package of this name holds; `None` for frames, symbols and other flavours. A kernel's package names
/// three numbers, `linux-image-6.1.0-48-cloud-amd64`.
pub fn series_of(package: &str) -> Option<(u32, u32)> {
    let release = PREFIXES
        .iter()
        .find_map(|prefix| package.strip_prefix(prefix))?
        .strip_suffix(FLAVOUR)?;
    let mut numbers = release.splitn(3, '.');
    let series = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    numbers
        .next()?
        .starts_with(|first: char| first.is_ascii_digit())
        .then_some(series)
}

/// `5.10` as numbers.
pub fn numbers(series: &str) -> Option<(u32, u32)> {
    let (major, minor) = series.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The packages among which the newest is looked for: those of the series, or of the next later one where that has moved on.
pub fn candidates<'a>(kernel: &Kernel, names: &[&'a str]) -> Vec<&'a str> {
    let wanted = numbers(kernel.series);
    let there = names.iter().filter_map(|name| series_of(name));
    let series = there
        .filter(|series| match wanted {
            Some(wanted) if kernel.moves_on => *series >= wanted,
            wanted => Some(*series) == wanted,
        })
        .min();
    names
        .iter()
        .copied()
        .filter(|name| series.is_some() && series_of(name) == series)
        .collect()
}

/// The newest; of a frame and the kernel itself the latter.
pub fn newest(packages: Vec<Package>) -> Option<Package> {
    packages.into_iter().max_by_key(|package| {
        let holds_it = package.name.starts_with(BINARY_PREFIX);
        (upstream(&package.version), holds_it, package.version.clone())
    })
}

/// The numbers of the version before Debian's revision, which decide what is newer: `6.12.117-1~deb12u1` is 6, 12, 117.
fn upstream(version: &str) -> Vec<u32> {
    let upstream = version.split('-').next().unwrap_or_default();
    upstream.split('.').map_while(|part| part.parse().ok()).collect()
}

/// Packages in the output of `apt-cache show`: paragraphs of fields.
pub fn parse_show(text: &str) -> Vec<Package> {
    let paragraph = |text: &str| {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .map(str::to_owned)
        };
        Some(Package {
            name: field("Package")?,
            version: field("Version")?,
            sha256: field("SHA256")?,
        })
    };
    text.split("\n\n").filter_map(paragraph).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(series: &str) -> Kernel {
        choose(&[series.to_owned()]).unwrap().remove(0)
    }

    fn package(name: &str, version: &str) -> Package {
        Package {
            name: name.into(),
            version: version.into(),
            sha256: String::new(),
        }
    }

    #[test]
    fn a_packages_name_says_which_kernel_it_holds() {
        for (name, series) in [
            ("linux-image-5.10.0-46-cloud-amd64", Some((5, 10))),
            ("linux-image-6.12.117+deb12-cloud-amd64", Some((6, 12))),
            ("linux-binary-7.2.13+deb14-cloud-amd64", Some((7, 2))),
            ("linux-image-6.12-cloud-amd64", None),
            ("linux-image-cloud-amd64", None),
            ("linux-image-6.1.0-56-amd64", None),
            ("linux-image-6.1.0-56-cloud-amd64-dbg", None),
            ("linux-image-6.1.0-56-cloud-amd64-unsigned", None),
            ("linux-headers-6.1.0-56-cloud-amd64", None),
        ] {
            assert_eq!(series_of(name), series, "{name}");
        }
    }

    #[test]
    fn only_a_suite_that_moves_on_gives_another_series() {
        let names = [
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-7.4.1+deb14-cloud-amd64",
            "linux-binary-7.3.2+deb14-cloud-amd64",
            "linux-image-7.3.2+deb14-cloud-amd64",
        ];
        assert_eq!(candidates(&kernel("6.1"), &names), [names[0]]);
        assert_eq!(candidates(&kernel("7.2"), &names), [names[2], names[3]]);
        assert_eq!(candidates(&kernel("5.10"), &names), [""; 0]);
    }

    #[test]
    fn the_newest_is_so_by_its_numbers_and_holds_the_kernel_itself() {
        let old = package("linux-image-6.12.95+deb12-cloud-amd64", "6.12.95-1~bpo12+1");
        let new = package("linux-image-6.12.117+deb12-cloud-amd64", "6.12.117-1~deb12u1");
        assert_eq!(newest(vec![new.clone(), old]), Some(new));
        let frame = package("linux-image-7.2.13+deb14-cloud-amd64", "7.2.13-1");
        let itself = package("linux-binary-7.2.13+deb14-cloud-amd64", "7.2.13-1");
        assert_eq!(newest(vec![itself.clone(), frame]), Some(itself));
        assert_eq!(newest(Vec::new()), None);
    }

    #[test]
    fn modules_are_in_the_kernels_package_unless_that_holds_the_kernel_alone() {
        assert_eq!(
            modules_package("linux-binary-7.2.13+deb14-cloud-amd64"),
            "linux-modules-7.2.13+deb14-cloud-amd64"
        );
        let whole = "linux-image-6.1.0-56-cloud-amd64";
        assert_eq!(modules_package(whole), whole);
    }

    #[test]
    fn reads_what_apt_shows() {
        let text = "Package: linux-image-a\nVersion: 1.2.3-1\nDescription: x\n Package: y\nSHA256: ab12\n\nPackage: incomplete\n\n";
        let expected = Package {
            sha256: "ab12".into(),
            ..package("linux-image-a", "1.2.3-1")
        };
        assert_eq!(parse_show(text), [expected]);
    }

    #[test]
    fn names_of_kernels_are_checked() {
        assert_eq!(choose(&[]).unwrap().len(), KERNELS.len());
        let error = choose(&["4.19".to_owned()]).unwrap_err().to_string();
        assert!(
            error.contains("`4.19`") && error.contains("5.10 6.1 6.12 7.2"),
            "{error}"
        );
        assert!(EVERY_RUN.iter().all(|series| kernel(series).series == *series));
        assert!(kernel("6.1").lack_of("sock-length").is_some());
        assert_eq!(kernel("6.12").lack_of("sock-length"), None);
    }
}
