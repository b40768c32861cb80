// The calls of MPI that backend.mpi.MpiLibrary declares, compiled with the header of Open MPI or of MPICH: the two agree on
// names, not on types.
//
// No call waits inside MPI: a rank that waits for others polls, and looks meanwhile whether they are still there. Each tells the
// next one every second that it is alive; where the one before it is on the same machine, the system knows too.
#include <dlfcn.h>
#include <errno.h>
#include <jni.h>
#include <mpi.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

enum {
    CHUNK = 1 << 18,  // floats that are exchanged at a time: they stay in a core's cache
    SPINS = 1 << 10,  // polls before a waiting rank lets others have its core
    ALIVE = 1,
    GOODBYE = 2,
};

static MPI_Comm comm;   // of the collective calls
static MPI_Comm beats;  // of the signs of life
static int rank, size, next, previous;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;  // MPI_THREAD_SERIALIZED
static double silence;                                     // seconds after which a rank is lost
static double heard, told;                                 // when the last sign of life came and went
static char sign_in, sign_out;
static MPI_Request in = MPI_REQUEST_NULL, out = MPI_REQUEST_NULL;
static int process;  // of the previous rank, 0 if it is elsewhere or may end
static int leaving;  // whether this one has said goodbye
static int lost = -1;
static int died;  // whether the lost one is known to have ended
static int failed = MPI_SUCCESS;

static float *staged, *received;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

/** Keeps the first error. */
static int ok(int code) {
    if (code != MPI_SUCCESS && failed == MPI_SUCCESS) {
        failed = code;
    }
    return code == MPI_SUCCESS;
}

static void listen(void) {
    ok(MPI_Irecv(&sign_in, 1, MPI_CHAR, previous, 0, beats, &in));
}

/** Tells the next rank that this one is alive, and looks after the others. */
static void beat(void) {
    double t = now();
    int done = 0;
    while (ok(MPI_Test(&in, &done, MPI_STATUS_IGNORE)) && done && sign_in == ALIVE) {
        heard = t;
        listen();
    }
    if (!leaving && t - told >= 1 && ok(MPI_Test(&out, &done, MPI_STATUS_IGNORE)) && done) {
        told = t;
        sign_out = ALIVE;
        ok(MPI_Isend(&sign_out, 1, MPI_CHAR, next, 0, beats, &out));
    }
    if (lost < 0 && process && kill(process, 0) && errno == ESRCH) {
        lost = previous;
        died = 1;
    }
    if (lost < 0 && t - heard > silence && sign_in != GOODBYE) {
        lost = previous;
    }
}

/** Waits for requests; 0 if a rank is lost or MPI fails. */
static int finish(MPI_Request *requests, int count) {
    double last = now();
    for (int spins = 0;; spins++) {
        int done;
        if (!ok(MPI_Testall(count, requests, &done, MPI_STATUSES_IGNORE))) {
            return 0;
        }
        if (done) {
            return 1;
        }
        if (spins >= SPINS) {
            sched_yield();
            if (now() - last > 0.1) {
                last = now();
                beat();
                if (lost >= 0) {
                    return 0;
                }
            }
        }
    }
}

/**
 * x (n) = the sum of all ranks' x. The ranks are the leaves of a binary tree, whose sums are the same in whichever order two
 * subtrees are added: a rank exchanges halves with its sibling, then quarters with its cousin, and on the way back the sums.
 */
static int all_reduce(float *x, int n) {
    int begins[31], ends[31], steps = 0, begin = 0, end = n;
    for (int d = 1; d < size; d *= 2, steps++) {
        begins[steps] = begin;
        ends[steps] = end;
        int middle = begin + (end - begin) / 2;
        int low = !(rank & d);
        int keep = low ? begin : middle, kept = low ? middle - begin : end - middle;
        int give = low ? middle : begin, given = low ? end - middle : middle - begin;
        MPI_Request both[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
        if (!ok(MPI_Irecv(received, kept, MPI_FLOAT, rank ^ d, 1, comm, &both[0]))
            || !ok(MPI_Isend(x + give, given, MPI_FLOAT, rank ^ d, 1, comm, &both[1])) || !finish(both, 2)) {
            return 0;
        }
        for (int i = 0; i < kept; i++) {
            x[keep + i] += received[i];
        }
        begin = keep;
        end = keep + kept;
    }
    while (--steps >= 0) {
        int other = rank ^ (1 << steps);
        int rest = begin == begins[steps] ? end : begins[steps];  // where the other's half begins
        int length = ends[steps] - begins[steps] - (end - begin);
        MPI_Request both[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
        if (!ok(MPI_Irecv(x + rest, length, MPI_FLOAT, other, 2, comm, &both[0]))
            || !ok(MPI_Isend(x + begin, end - begin, MPI_FLOAT, other, 2, comm, &both[1])) || !finish(both, 2)) {
            return 0;
        }
        begin = begins[steps];
        end = ends[steps];
    }
    return 1;
}

#define NAME(function) Java_io_github_drakegpt_backend_mpi_MpiLibrary_##function

/** Makes MPI's names visible to the parts of it that it loads itself. */
JNIEXPORT jint JNICALL JNI_OnLoad(JavaVM *vm, void *reserved) {
    (void)vm;
    (void)reserved;
    Dl_info mpi;
    if (dladdr((void *)MPI_Init_thread, &mpi) && mpi.dli_fname) {
        dlopen(mpi.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
    }
    return JNI_VERSION_1_8;
}

JNIEXPORT jstring JNICALL NAME(version)(JNIEnv *env, jclass type) {
    (void)type;
    char version[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;
    MPI_Get_library_version(version, &length);
    return (*env)->NewStringUTF(env, version);
}

/** Starts MPI: whether it can be called from any one thread at a time. */
JNIEXPORT jboolean JNICALL NAME(start)(JNIEnv *env, jclass type, jdouble most_silence) {
    (void)env;
    (void)type;
    int provided;
    silence = most_silence;
    if (!ok(MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided)) || provided < MPI_THREAD_SERIALIZED
        || !ok(MPI_Comm_dup(MPI_COMM_WORLD, &comm)) || !ok(MPI_Comm_dup(MPI_COMM_WORLD, &beats))) {
        return JNI_FALSE;
    }
    MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(beats, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    next = (rank + 1) % size;
    previous = (rank + size - 1) % size;
    staged = malloc(CHUNK * sizeof(float));
    received = malloc(CHUNK * sizeof(float));
    heard = now();
    listen();
    return staged && received;
}

JNIEXPORT jint JNICALL NAME(rank)(JNIEnv *env, jclass type) {
    (void)env;
    (void)type;
    return rank;
}

JNIEXPORT jint JNICALL NAME(size)(JNIEnv *env, jclass type) {
    (void)env;
    (void)type;
    return size;
}

/** Watches the previous rank's process from now on. @param all an id for each rank, 0 for those elsewhere */
JNIEXPORT void JNICALL NAME(watch)(JNIEnv *env, jclass type, jintArray all) {
    (void)type;
    pthread_mutex_lock(&mutex);
    int id;
    (*env)->GetIntArrayRegion(env, all, previous, 1, &id);
    process = id && !kill(id, 0) ? id : 0;  // else in another name space
    pthread_mutex_unlock(&mutex);
}

JNIEXPORT void JNICALL NAME(beat)(JNIEnv *env, jclass type) {
    (void)env;
    (void)type;
    if (!pthread_mutex_trylock(&mutex)) {  // else a collective call beats
        beat();
        pthread_mutex_unlock(&mutex);
    }
}

/** The rank that is lost, or -1. */
JNIEXPORT jint JNICALL NAME(lost)(JNIEnv *env, jclass type) {
    (void)env;
    (void)type;
    return lost;
}

/** Whether the rank that is lost has ended, so that it is more than silent. */
JNIEXPORT jboolean JNICALL NAME(died)(JNIEnv *env, jclass type) {
    (void)env;
    (void)type;
    return died;
}

/** MPI's own words on its first error, or null. */
JNIEXPORT jstring JNICALL NAME(error)(JNIEnv *env, jclass type) {
    (void)type;
    char text[MPI_MAX_ERROR_STRING];
    int length;
    return failed == MPI_SUCCESS || MPI_Error_string(failed, text, &length) ? NULL : (*env)->NewStringUTF(env, text);
}

JNIEXPORT jboolean JNICALL NAME(allReduce)(JNIEnv *env, jclass type, jfloatArray x, jint offset, jint n) {
    (void)type;
    pthread_mutex_lock(&mutex);
    int done = 1;
    for (int from = 0; from < n && done; from += CHUNK) {
        int length = n - from < CHUNK ? n - from : CHUNK;
        (*env)->GetFloatArrayRegion(env, x, offset + from, length, staged);
        done = all_reduce(staged, length);
        (*env)->SetFloatArrayRegion(env, x, offset + from, length, staged);
    }
    pthread_mutex_unlock(&mutex);
    return done;
}

/** What all ranks give, one after the other, of whose lengths this is told; null if that fails. */
JNIEXPORT jbyteArray JNICALL NAME(gather)(JNIEnv *env, jclass type, jbyteArray mine, jintArray lengths) {
    (void)type;
    pthread_mutex_lock(&mutex);
    int length = (*env)->GetArrayLength(env, mine);
    int *each = malloc(2 * size * sizeof(int)), *begins = each + size;
    jbyte *own = malloc(length + 1), *all = NULL;
    (*env)->GetByteArrayRegion(env, mine, 0, length, own);
    MPI_Request request;
    jbyteArray result = NULL;
    if (ok(MPI_Iallgather(&length, 1, MPI_INT, each, 1, MPI_INT, comm, &request)) && finish(&request, 1)) {
        int total = 0;
        for (int r = 0; r < size; r++) {
            begins[r] = total;
            total += each[r];
        }
        all = malloc(total + 1);
        if (ok(MPI_Iallgatherv(own, length, MPI_BYTE, all, each, begins, MPI_BYTE, comm, &request)) && finish(&request, 1)
            && (result = (*env)->NewByteArray(env, total))) {
            (*env)->SetByteArrayRegion(env, result, 0, total, all);
            (*env)->SetIntArrayRegion(env, lengths, 0, size, each);
        }
    }
    free(all);
    free(own);
    free(each);
    pthread_mutex_unlock(&mutex);
    return result;
}

JNIEXPORT void JNICALL NAME(abort)(JNIEnv *env, jclass type) {
    (void)env;
    (void)type;
    MPI_Abort(MPI_COMM_WORLD, 1);
}

/** Ends MPI when all ranks do so, each after the last sign of the one before it. */
JNIEXPORT jboolean JNICALL NAME(stop)(JNIEnv *env, jclass type) {
    (void)env;
    (void)type;
    pthread_mutex_lock(&mutex);
    process = 0;
    MPI_Request barrier;
    int done = ok(MPI_Ibarrier(comm, &barrier)) && finish(&barrier, 1) && finish(&out, 1);
    if (done) {
        leaving = 1;
        sign_out = GOODBYE;
        done = ok(MPI_Isend(&sign_out, 1, MPI_CHAR, next, 0, beats, &out));
        do {
            if (sign_in == ALIVE && in == MPI_REQUEST_NULL) {
                listen();
            }
            done = done && finish(&in, 1);
        } while (done && sign_in != GOODBYE);
        done = done && finish(&out, 1) && ok(MPI_Finalize());
    }
    pthread_mutex_unlock(&mutex);
    return done;
}
