"""The whole product on one machine: Postgres, Cloudflare's own local runtime, sample data, web and workers."""
