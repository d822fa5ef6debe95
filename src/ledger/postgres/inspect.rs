//! Looks at a PostgreSQL database, without creating or migrating anything.

use super::{
    connect::{Connections, Failure},
    schema,
};
use crate::ledger::{
    inspect::Standing,
    open::{OpenError, Options, place},
};
use deadpool_postgres::Client;

/// Whether the user may do to the tables what the worker does.
const RIGHTS: &str = "
    SELECT bool_and(has_table_privilege(t, p)) FROM
    unnest(ARRAY['imin_customer_worker_ledger', 'imin_customer_worker_ledger_lease']) t,
    unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p";

/// How the database stands.
pub(in crate::ledger) async fn inspect(
    config: &tokio_postgres::Config,
    options: &Options,
) -> Result<Standing, OpenError> {
    let place = place(config);
    let connections = Connections::new(config, place.clone(), options)?;
    let found = connections.open(look).await;
    connections.close();
    match found? {
        Look::Standing(standing) => Ok(standing),
        Look::Unusable(detail) => Err(OpenError::Unusable { place, detail: detail.to_owned() }),
        Look::Newer { found, known } => Err(OpenError::Newer { place, found, known }),
    }
}

enum Look {
    Standing(Standing),
    Unusable(&'static str),
    Newer { found: i64, known: i64 },
}

async fn look(client: &mut Client) -> Result<Look, Failure> {
    if client.query_one("SELECT pg_is_in_recovery()", &[]).await?.try_get(0)? {
        return Ok(Look::Unusable("the server is a replica that cannot be written: name the primary"));
    }
    let Some((found, known)) = schema::version(client).await? else {
        let may = "SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)";
        return Ok(if client.query_one(may, &[]).await?.try_get(0)? {
            Look::Standing(Standing::Absent)
        } else {
            Look::Unusable(
                "the tables are not there, and this user may not create them: grant CREATE on the schema",
            )
        });
    };
    if found > known {
        return Ok(Look::Newer { found, known });
    }
    if found > 0 && !client.query_one(RIGHTS, &[]).await?.try_get(0)? {
        return Ok(Look::Unusable(
            "this user may not read and write the tables: grant SELECT, INSERT, UPDATE and DELETE on them",
        ));
    }
    Ok(Look::Standing(Standing::Ready { schema: found, known }))
}
