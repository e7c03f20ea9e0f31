//! What is said once all is up: addresses, the admin's sign-in, and three lines to begin with.

use std::io::Write as _;

use super::admin::Admin;
use super::options::Options;
use crate::cloud::LocalCloud;
use crate::service::Service;

/// Prints it. The lines are made to be pasted as they are.
pub fn print(options: &Options, cloud: &LocalCloud, admin: &Result<Admin, String>) {
    let mut text = format!(
        "\n  Undercroft is up.\n\n  API    http://localhost:{}\n  Desk   http://localhost:{}   (mail, queues, tables)\n",
        options.port, options.desk_port
    );
    for (service, address) in cloud.elsewhere() {
        text.push_str(&format!("  {:<6} served by {address}\n", name(service)));
    }
    match admin {
        Ok(admin) => text.push_str(&first_steps(options.port, admin)),
        Err(why) => text.push_str(&format!("\n  There is no admin yet: {why}\n")),
    }
    text.push_str("\n  Ctrl-C stops it; everything is kept. `cargo dev -- --help` lists the options.\n\n");
    // A closed standard output is no reason to stop serving.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

fn first_steps(port: u16, admin: &Admin) -> String {
    let Admin { email, password } = admin;
    format!(
        r#"  Admin  {email}
         {password}

  Sign in, put a collection, list:

TOKEN=$(curl -s localhost:{port}/v1/auth/signin -H 'content-type: application/json' -d '{{"email":"{email}","password":"{password}"}}' | sed 's/.*"accessToken":"\([^"]*\)".*/\1/')
curl -X PUT localhost:{port}/v1/collections/notes -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' -d '{{"name":"notes","schema":{{"type":"object","properties":{{"text":{{"type":"string"}}}}}}}}'
curl localhost:{port}/v1/collections -H "authorization: Bearer $TOKEN"
"#
    )
}

fn name(service: Service) -> &'static str {
    match service {
        Service::Tables => "Tables",
        Service::Queues => "Queues",
        Service::Parameters => "Keys",
    }
}
