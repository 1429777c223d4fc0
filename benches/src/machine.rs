//! What the numbers were measured on.

use crate::process::{Line, STDERR, STDOUT};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The machine and the time, as the report names them.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Model name and number of processors.
    pub cpu: String,
    /// Release and machine of uname(2).
    pub kernel: String,
    /// `PRETTY_NAME` of os-release(5).
    pub distribution: String,
    /// Day and minute, UTC.
    pub date: String,
}

impl Machine {
    /// Asks /proc, uname(2) and os-release(5); what does not answer is "unknown".
    #[must_use]
    pub fn this() -> Machine {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
        Machine {
            cpu: cpu(&cpuinfo),
            kernel: kernel(),
            distribution: pretty_name(&os).unwrap_or("unknown").to_owned(),
            date: date(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
        }
    }
}

/// The three load averages of `proc_loadavg(5)`.
#[must_use]
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// The first line that `program` says to `option`, or nothing where it cannot be run.
pub(crate) fn version(program: &str, option: &str, dir: &Path) -> Option<String> {
    Line::new([program, option])
        .run(dir, Duration::from_secs(20))
        .ok()?;
    // ltrace -V writes to its standard output, some others to standard error.
    let said = [STDOUT, STDERR].map(|name| fs::read_to_string(dir.join(name)).unwrap_or_default());
    said.iter()
        .find_map(|text| text.lines().next().filter(|line| !line.is_empty()))
        .map(str::to_owned)
}

fn cpu(cpuinfo: &str) -> String {
    let field = |name| {
        let value = |line: &str| Some(line.split_once(':')?.1.trim().to_owned());
        cpuinfo
            .lines()
            .filter(move |line: &&str| line.starts_with(name))
            .filter_map(value)
    };
    let model = field("model name").next().unwrap_or_else(|| "unknown".to_owned());
    let guest = if field("flags").any(|flags| flags.split(' ').any(|flag| flag == "hypervisor")) {
        ", virtual machine"
    } else {
        ""
    };
    format!("{model}, {} CPUs{guest}", field("processor").count())
}

fn kernel() -> String {
    let name = nix::sys::utsname::uname();
    name.map_or_else(
        |_| "unknown".to_owned(),
        |name| {
            let [system, release, machine] = [name.sysname(), name.release(), name.machine()];
            format!(
                "{} {} {}",
                system.to_string_lossy(),
                release.to_string_lossy(),
                machine.to_string_lossy()
            )
        },
    )
}

fn pretty_name(os_release: &str) -> Option<&str> {
    os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|name| name.trim_matches('"'))
}

/// `since_epoch` in the Gregorian calendar, after "Calendrical Calculations" (days are counted from 1 March of year 0).
fn date(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let days = seconds / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_date_1() {
        // `date -u -d @SECONDS`
        for (seconds, expected) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (951_868_799, "2000-02-29 23:59 UTC"),
            (1_709_251_199, "2024-02-29 23:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(date(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn a_cpu_is_named_with_its_number() {
        let cpuinfo = "processor\t: 0\nmodel name\t: X 1\nflags\t\t: fpu hypervisor\n\nprocessor\t: 1\nmodel name\t: X 1\n";
        assert_eq!(cpu(cpuinfo), "X 1, 2 CPUs, virtual machine");
        assert_eq!(cpu(""), "unknown, 0 CPUs");
    }

    #[test]
    fn a_distribution_is_named() {
        assert_eq!(
            pretty_name("A=b\nPRETTY_NAME=\"Some Linux 1\"\n"),
            Some("Some Linux 1")
        );
    }
}
