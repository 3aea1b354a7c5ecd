// SPDX-License-Identifier: Apache-2.0
// A MongoDB server for tests where no real one can be had: mongo-java-server on an H2 file. Its own main commits the file about once a second and loses
// what it acknowledged in between when it is killed; this one commits after every command that writes, before it is answered.
// Run by scripts/mongodb: mongo_peer PORT FILE.

import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import io.netty.channel.Channel;
import java.util.Set;
import org.h2.mvstore.MVStore;

class mongo_peer {
  static final Set<String> READING = Set.of("find", "getmore", "hello", "ismaster", "ping", "count", "distinct", "aggregate", "listindexes",
      "listcollections", "listdatabases", "buildinfo", "killcursors", "endsessions", "serverstatus", "getparameter", "connectionstatus");

  static class durable_backend extends H2Backend {
    durable_backend(MVStore store) { super(store); }

    @Override
    public Document handleCommand(Channel channel, String database, String command, Document query) {
      return answer(command, () -> super.handleCommand(channel, database, command, query));
    }

    @Override
    public Document handleMessage(MongoMessage message) {
      var command = message.getDocument().keySet().iterator().next();
      return answer(command, () -> super.handleMessage(message));
    }

    private Document answer(String command, java.util.function.Supplier<Document> work) {
      try {
        return work.get();
      } finally {
        if (!READING.contains(command.toLowerCase())) {
          synchronized (this) {
            getMvStore().commit();
          }
        }
      }
    }
  }

  public static void main(String[] words) {
    var store = new MVStore.Builder().fileName(words[1]).autoCommitDisabled().open();
    store.setRetentionTime(0);
    store.setVersionsToKeep(0);
    var server = new MongoServer(new durable_backend(store));
    server.bind("127.0.0.1", Integer.parseInt(words[0]));
    Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
    System.out.println("listening");
  }
}
