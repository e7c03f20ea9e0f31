//! Runs the commands of the startup message, the README and the ten-minute tour.

use super::dev::Dev;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Where the README's tour is.
pub const SHORT_TOUR: &str = "## A three-minute tour";
/// The page that is nothing but the long one.
pub const LONG_TOUR: &str = "docs/guides/tour.md";

/// For all of a tour; nothing in it waits longer than for a job's third attempt.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where the tour says to wait a while, what it waits for is waited for: how fast a machine is decides nothing here.
const PAUSES: &str = r#"
sleep() {
    case $1 in
    2) until curl -s "$DASHBOARD/mail" | grep -q "$WHO"; do command sleep 0.1; done ;;
    10) until curl -s "$API/v1/jobs/$JOB" "${AS_ADMIN[@]}" | grep -q '"status":"dead"'; do command sleep 0.1; done ;;
    *) echo "nobody said what to wait for in: sleep $1" && exit 1 ;;
    esac
}
"#;

/// Pastes all three. Where there is no curl there is nobody to paste them for.
pub async fn take(dev: &Dev) {
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().await.is_err() {
        eprintln!("the tour was NOT taken: there is no curl here");
        return;
    }
    paste_first_steps(dev).await;
    paste_the_readme(dev).await;
    paste_the_ten_minutes(dev).await;
}

/// The three lines that `cargo dev` prints.
async fn paste_first_steps(dev: &Dev) {
    let said = dev.said();
    let printed: Vec<&str> =
        said.lines().skip_while(|line| !line.contains("Sign in, create a collection")).skip(2).take(3).collect();
    let answered = paste("sh", &printed.join("\n")).await;
    assert!(answered.contains("\"status\":\"ready\""), "the collection was put: {answered}");
    let (_, listed) = answered.rsplit_once("\"items\":").unwrap_or_else(|| panic!("nothing is listed: {answered}"));
    assert!(listed.contains("\"name\":\"notes\""), "{answered}");
}

/// The README's three-minute tour: an account, a collection, a record with what it costs, and a query that is refused.
async fn paste_the_readme(dev: &Dev) {
    let answered = paste_tour(dev, section(&page("README.md"), SHORT_TOUR), "grace@example.org").await;
    let refused: Vec<&str> = answered.matches("\"code\":\"").collect();
    assert_eq!(refused.len(), 1, "the one query that no index serves, and nothing else, is refused: {answered}");
    for (what, said) in [
        ("the collection", "\"status\":\"ready\""),
        ("the record", "\"title\":\"Read the architecture\""),
        ("its making", "HTTP/1.1 201"),
        ("the list", "\"items\":[{"),
        ("what the record cost", "; wru=2; "),
        ("what the list cost", "; wru=0; "),
        ("the index to add", "\"addIndex\":{"),
    ] {
        assert!(answered.contains(said), "{what} shows in no answer: {answered}");
    }
}

/// The ten-minute tour, from sign-up to a dead job's second life. Somebody has taken it here before as Ada.
async fn paste_the_ten_minutes(dev: &Dev) {
    let answered = paste_tour(dev, &page(LONG_TOUR), "ada@example.org").await;
    let refused: Vec<&str> = answered.matches("\"code\":\"").collect();
    assert_eq!(refused.len(), 1, "the one query that no index serves, and nothing else, is refused: {answered}");
    for (what, said) in [
        ("the account", "\"verified\":true"),
        ("the record", "\"title\":\"Write it down\""),
        ("the patch", "\"status\":\"done\""),
        ("the deletion", "HTTP/1.1 204"),
        ("the batch", "\"title\":\"Both or neither\""),
        ("the plan", "\"expected\":"),
        ("the dead job", "\"status\":\"dead\""),
    ] {
        assert!(answered.contains(said), "{what} shows in no answer: {answered}");
    }
    assert!(answered.trim_end().ends_with('}') && answered.contains("\"status\":\"queued\""), "{answered}");
}

/// The commands of a tour, taken by somebody who has not been here before.
async fn paste_tour(dev: &Dev, tour: &str, who: &str) -> String {
    let newcomer = format!("tour-{who}");
    let script = shell_blocks(tour)
        .replace("localhost:9000", &format!("localhost:{}", dev.port))
        .replace("localhost:9001", &format!("localhost:{}", dev.dashboard_port))
        .replace("ADMIN_PASSWORD='...'", &format!("ADMIN_PASSWORD='{}'", dev.admin_password))
        .replace(who, &newcomer);
    let settings = format!("DASHBOARD=http://localhost:{}\nWHO={newcomer}\n", dev.dashboard_port);
    paste("bash", &format!("{settings}{PAUSES}{script}")).await
}

fn page(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

/// From a heading to the next of its kind.
pub fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, after) = text.split_once(heading).unwrap_or_else(|| panic!("there is no {heading}"));
    after.split("\n## ").next().unwrap()
}

/// What stands in the blocks marked `sh`, in order.
fn shell_blocks(text: &str) -> String {
    let blocks: Vec<&str> = text.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 5, "an account, a collection, records, a batch and a job: {}", blocks.len());
    blocks.concat()
}

/// Both outputs of a shell that is given these lines.
async fn paste(shell: &str, lines: &str) -> String {
    let mut command = Command::new(shell);
    command.args(["-c", lines]).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{shell} is not done after {PATIENCE:?}: {lines}")).unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    String::from_utf8(said).unwrap()
}
