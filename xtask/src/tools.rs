//! What the tests need besides Rust: what C and C++ are built with, a MariaDB and a PostgreSQL server, tools that watch and cut
//! off a disk, and a Python with independent readers of our files.

use crate::shell::{self, Outcome, on_path, output, root, target};
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

/// `build-essential` brings all of Perl, which Debian splits: OpenSSL's build needs more than the part that is always there.
const BUILD_PACKAGES: &[&str] = &["build-essential"];
/// Debian's packages without the service: private servers are started by the tests themselves.
const MARIADB_PACKAGES: &[&str] = &["mariadb-server-core", "mariadb-client"];
const POSTGRES_PACKAGES: &[&str] = &["postgresql", "postgresql-client"];
/// Debian keeps the server's programs of each version in a folder of their own.
const POSTGRES_FOLDER: &str = "/usr/lib/postgresql";
const POSTGRES_SETTINGS: &str = "/etc/postgresql-common/createcluster.d";
const DISK_PACKAGES: &[&str] = &["strace", "e2fsprogs", "xfsprogs", "mount"];
const PYTHON_PACKAGES: &[&str] = &["python3", "python3-venv", "python3-pip"];
const REQUIREMENTS: &str = "xtask/requirements.txt";

/// Makes sure that Kafka's client library and its OpenSSL can be built.
pub fn compilers() -> Outcome {
    let there = || {
        let perl = output(Command::new("perl").args(["-MIPC::Cmd", "-MFindBin", "-e1"])).is_ok();
        perl && ["cc", "c++", "make"].iter().all(|program| on_path(program))
    };
    if there() {
        return Ok(());
    }
    install(BUILD_PACKAGES)?;
    if there() { Ok(()) } else { Err("a C++ compiler, make or Perl is still missing after installing them".into()) }
}

/// Makes sure that `mariadbd`, `mariadb-install-db` and the clients are there.
pub fn mariadb() -> Outcome {
    programs(&["mariadbd", "mariadb-install-db", "mariadb", "mariadb-binlog"], MARIADB_PACKAGES)
}

/// Makes sure that a PostgreSQL server and its client are there.
pub fn postgres() -> Outcome {
    let there = || {
        let versions = std::fs::read_dir(POSTGRES_FOLDER).into_iter().flatten().flatten();
        let hidden = versions.map(|v| v.path().join("bin/initdb")).any(|p| p.is_file());
        (hidden || on_path("initdb")) && on_path("psql")
    };
    if there() {
        return Ok(());
    }
    without_cluster(|| install(POSTGRES_PACKAGES))?;
    if there() { Ok(()) } else { Err("a PostgreSQL server is still missing after installing it".into()) }
}

/// Debian's package starts a server of the machine's own when it is installed, unless its settings say otherwise.
fn without_cluster(install: impl FnOnce() -> Outcome) -> Outcome {
    let setting = Path::new(POSTGRES_SETTINGS).join("no-cluster-for-tests.conf");
    let wrote = std::fs::create_dir_all(POSTGRES_SETTINGS)
        .and_then(|()| std::fs::write(&setting, "create_main_cluster = false\n"));
    // Who may not write there may not install either, and is told so by the installation.
    let installed = install();
    if wrote.is_ok() {
        std::fs::remove_file(&setting).map_err(|e| format!("{}: {e}", setting.display()))?;
    }
    installed
}

/// Makes sure that the tools are there with which tests watch system calls and make disks of their own.
pub fn disk_tools() -> Outcome {
    programs(&["strace", "mkfs.ext4", "mkfs.xfs", "mount"], DISK_PACKAGES)
}

/// Installs `packages` if one of the programs is missing; with none to install the program must be there.
pub fn programs(needed: &[&str], packages: &[&str]) -> Outcome {
    let missing = || needed.iter().find(|p| !on_path(p));
    if missing().is_none() {
        return Ok(());
    }
    if !packages.is_empty() {
        install(packages)?;
    }
    match missing() {
        None => Ok(()),
        Some(program) if packages.is_empty() => Err(format!("`{program}` is missing")),
        Some(program) => Err(format!("`{program}` is still missing after installing {}", packages.join(" "))),
    }
}

/// A Python that has the packages of `xtask/requirements.txt`: `DUJIANG_PYTHON` if set, else one in the target folder.
pub fn python() -> Outcome<OsString> {
    if let Some(given) = std::env::var_os("DUJIANG_PYTHON") {
        return Ok(given);
    }
    let wanted = root().join(REQUIREMENTS);
    let wanted = std::fs::read_to_string(&wanted).map_err(|e| format!("{REQUIREMENTS}: {e}"))?;
    let folder = target().join("python");
    let stamp = folder.join("requirements.txt");
    let python = folder.join("bin/python");
    let ready = std::fs::read_to_string(&stamp).is_ok_and(|have| have == wanted);
    if !ready {
        make_environment(&folder, &python)?;
        std::fs::write(&stamp, wanted).map_err(|e| format!("{}: {e}", stamp.display()))?;
    }
    Ok(python.into())
}

fn make_environment(folder: &Path, python: &Path) -> Outcome {
    if !can_make_environments() {
        install(PYTHON_PACKAGES)?;
    }
    shell::run("python environment", Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
    let mut pip = Command::new(python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary=:all:",
        "--requirement",
    ]);
    pip.arg(root().join(REQUIREMENTS));
    shell::run("python packages", &mut pip).map_err(|e| {
        format!(
            "{e}\nThe tests read our files with pyarrow and duckdb. Install the packages of {REQUIREMENTS} into a \
                 Python of your own and name it in DUJIANG_PYTHON."
        )
    })
}

fn can_make_environments() -> bool {
    on_path("python3") && output(Command::new("python3").args(["-c", "import venv, ensurepip"])).is_ok()
}

fn install(packages: &[&str]) -> Outcome {
    let how = format!("as root: apt-get install {}", packages.join(" "));
    let root_user = output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !root_user || !on_path("apt-get") {
        return Err(format!("the tests need {}; install them ({how})", packages.join(", ")));
    }
    let apt = |step: &str, arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        shell::run(step, &mut command).map_err(|e| format!("{e}\nInstall them yourself ({how})."))
    };
    apt("package lists", &["update", "-qq"])?;
    apt("packages", &[&["install", "-y", "-qq", "--no-install-recommends"], packages].concat())
}
