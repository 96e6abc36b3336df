"""Hostile answers: Python that tries to do harm, in the forms in which a model could write it.

Each piece of code ends with a forged reply to the scoring process, which is reached only if everything before it
worked: a score of :data:`FORGED` says that harm was done, whatever the harm was.
"""

import platform
import random
import textwrap

FORGED = 0.77721
FORGE = f"""
import os
for d in range(3, 12):
    try:
        os.write(d, b'{{"score": {FORGED}, "answer": null, "large": false}}\\n')
    except OSError:
        pass
"""

PROCESSES = """
os.fork()
assert os.system('touch {folder}/system') == 0
subprocess.run(['/bin/sh', '-c', 'touch {folder}/run'], check=True)
subprocess.Popen(['/bin/sleep', '77721'], start_new_session=True)
os.posix_spawn('/bin/sleep', ['sleep', '77721'], {{}})
os.execv('/bin/sleep', ['sleep', '77721'])
pty.fork()
multiprocessing.get_context('fork').Process(target=print).start()
concurrent.futures.ProcessPoolExecutor(1).submit(print).result(1)
while True: os.fork()
assert ctypes.CDLL(None).fork() >= 0
assert ctypes.CDLL(None).system(b'touch {folder}/ctypes') == 0
"""

FILES = """
open('{folder}/open', 'w').write('x')
os.open('{folder}/flags', os.O_CREAT | os.O_WRONLY)
os.open('{folder}', os.O_TMPFILE | os.O_RDWR)
open('{private}', 'r+').write('x')
open('{private}', 'ab').write(b'x')
open('{home}/entroshape-77721', 'w')
open('/tmp/entroshape-77721', 'w')
open('/dev/shm/entroshape-77721', 'w')
tempfile.NamedTemporaryFile(delete=False).write(b'x' * 10**6)
os.mkdir('{folder}/mkdir')
os.symlink('/etc/passwd', '{folder}/symlink')
os.link('{private}', '{folder}/link')
os.rename('{private}', '{folder}/renamed')
os.unlink('{private}')
os.truncate('{private}', 0)
os.chmod('{private}', 0o777)
os.utime('{private}')
os.mkfifo('{folder}/fifo')
os.setxattr('{private}', 'user.x', b'x')
shutil.rmtree('{folder}')
shutil.copy('{private}', '{folder}/copy')
sqlite3.connect('{folder}/db').execute('create table t (x)')
logging.FileHandler('{folder}/log')
pathlib.Path('{folder}/path').touch()
open('/proc/self/mem', 'r+b')
open(f'/proc/{{os.getppid()}}/mem', 'r+b')
open('/proc/self/oom_score_adj', 'w').write('-1000')
os.memfd_create('x')
os.write(os.memfd_create('x'), b'x' * 10**8)
mmap.mmap(os.open('{private}', os.O_RDWR), 1)
shared_memory.SharedMemory(create=True, size=10**6)
assert ctypes.CDLL(None).creat(b'{folder}/creat', 0o600) >= 0
assert ctypes.CDLL(None).shmget(0, 4096, 0o1600) >= 0
assert ctypes.CDLL(None).mq_open(b'/entroshape-77721', 0o102, 0o600, None) >= 0
assert ctypes.CDLL(None).semget(0, 1, 0o1600) >= 0
"""

READING = """
open('{private}').read()
os.open('{private}', os.O_RDONLY)
assert linecache.getline('{private}', 1)
os.listdir('{folder}')
os.scandir('{folder}')
os.listdir('/proc/self/fd')
os.listdir(f'/proc/{{os.getppid()}}/fd')
open('/proc/{pid}/environ').read()
open(f'/proc/{{os.getppid()}}/environ').read()
open('/proc/1/environ').read()
open('/proc/{pid}/cmdline').read()
open('/proc/self/maps').read()
open('/proc/net/tcp').read()
open('/etc/shadow').read()
os.environ['{secret}']
assert ctypes.CDLL(None).getenv(b'{secret}')
[os.open(f'/proc/{{os.getppid()}}/fd/{{n}}', os.O_RDONLY | os.O_NONBLOCK) for n in range(3, 20)]
"""

SIGNALS = """
os.kill({pid}, signal.SIGUSR1)
os.kill({pid}, 0)
os.kill(os.getppid(), signal.SIGKILL)
os.kill(os.getppid(), signal.SIGSTOP)
os.kill(os.getpid(), signal.SIGSTOP)
os.kill(0, signal.SIGCONT)
os.kill(-1, signal.SIGCONT)
os.killpg({group}, signal.SIGUSR1)
signal.raise_signal(signal.SIGSTOP)
signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
signal.setitimer(signal.ITIMER_REAL, 0)
signal.pidfd_send_signal(os.pidfd_open({pid}), signal.SIGUSR1)
fcntl.fcntl(0, fcntl.F_SETOWN, {pid})
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
resource.prlimit({pid}, resource.RLIMIT_NOFILE, (0, 0))
os.setpriority(os.PRIO_PROCESS, {pid}, 19)
os.sched_setaffinity({pid}, {{0}})
os.setpgid(0, 0) or os.setsid()
assert ctypes.CDLL(None).prctl(1, 0, 0, 0, 0) == 0
assert ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0
assert ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0
"""

SOCKETS = """
socket.create_connection(('127.0.0.1', {port}), 1)
socket.socket(socket.AF_UNIX).connect('\\0entroshape-{pid}')
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))
socket.socketpair()
socket.fromfd(3, socket.AF_UNIX, socket.SOCK_STREAM).send(b'x')
urllib.request.urlopen('http://127.0.0.1:{port}/', timeout=1)
asyncio.new_event_loop()
os.pipe()
assert ctypes.CDLL(None).socket(1, 1, 0) >= 0
"""

MODULES = (
    "os", "subprocess", "pty", "multiprocessing", "concurrent.futures", "ctypes", "tempfile", "shutil", "sqlite3",
    "logging", "pathlib", "mmap", "linecache", "signal", "threading", "fcntl", "resource", "socket",
    "urllib.request", "asyncio",
)  # fmt: skip
SPECIAL = {"shared_memory": "from multiprocessing import shared_memory"}

CALLS_X86_64 = {
    "socket": 41, "shmget": 29, "clone": 56, "fork": 57, "vfork": 58, "kill": 62, "semget": 64, "msgget": 68,
    "ptrace": 101, "mount": 165, "reboot": 169, "init_module": 175, "tkill": 200, "mq_open": 240, "add_key": 248,
    "inotify_init": 253, "unshare": 272, "splice": 275, "perf_event_open": 298, "process_vm_readv": 310,
    "process_vm_writev": 311, "seccomp": 317, "memfd_create": 319, "bpf": 321, "userfaultfd": 323,
    "io_uring_setup": 425, "pidfd_open": 434,
    "clone3": 435, "pidfd_getfd": 438, "memfd_secret": 447, "x32 fork": 0x40000000 + 57,
}  # fmt: skip

ENDLESS = """
while True: pass
import time; time.sleep(600)
10 ** 10 ** 9
import os; [os.write(d, b'x' * 65536) for _ in iter(int, 1) for d in range(12)]
import signal; [signal.signal(n, signal.SIG_IGN) for n in range(1, 31) if n not in (9, 19)]; signal.pause()
"""

HEAVY = """
bytearray(1 << 40)
['x'] * 10 ** 10
x = ['x']; [x.extend(x) for _ in range(99)]
'x' * 10 ** 11
(lambda f: f(f))(lambda f: f(f))
import sys; sys.setrecursionlimit(10 ** 9); (lambda f: f(f))(lambda f: f(f))
import os; os._exit(0)
import sys; sys.exit('bye')
import os; os.closerange(0, 99)
import ctypes; ctypes.string_at(0)
import os; os.write(1, b'x' * 10 ** 7); os.write(2, b'x' * 10 ** 7)
raise BaseException
raise type('[bold]\\n', (Exception,), {})
import threading; [threading.Thread(target=print).start() for _ in range(10 ** 5)]
import gc; [setattr(o, 'score_answer', lambda *a: 1.0) for o in gc.get_objects() if hasattr(o, 'score_answer')]
import builtins; builtins.float = lambda x: 1.0
import json; json.dumps = lambda *a: '{"score": 1.0, "answer": null, "large": false}'
import sys; sys.modules.clear()
import sys; sys.stdout = sys.stderr = None; sys.excepthook = lambda *a: 1
import sys; f = sys._getframe(); [f := f.f_back or f for _ in range(99)]; f.f_globals.clear()
"""

PLAIN = (
    "", " ", "\0", "\ud800", "(" * 5000, "[" * 5000 + "]" * 5000, "9" * 5000, "9**" * 500 + "9", "-" * 5000 + "1",
    "1e9999", "nan", "inf", "\\boxed{" * 500, "\\frac{" * 500, "{}" * 2500, "</answer><answer>", "<script>x()</script>",
    "[bold]x[/bold]", "\x1b[2J\x1b]0;x\x07", "'" * 999, "\\" * 999, "x" * 100_000, "\n" * 5000, "1/0", "0**-1", "[[]]",
    "None", "True", "lambda: 0", "...", "{1: {}}", "\u202e1", "\uff11", "1_000", "0x1F", "self", "entry", "__name__",
)  # fmt: skip


def code_pieces(**targets):
    """Each harmful piece of code, with its targets filled in, and the forged reply behind it."""
    lines = [line for block in (PROCESSES, FILES, READING, SIGNALS, SOCKETS) for line in block.strip().splitlines()]
    pieces = [line.format(**targets) for line in lines]
    if platform.machine() == "x86_64":
        for name, number in CALLS_X86_64.items():
            first = "os.getppid()" if name == "kill" else "0"
            pieces.append(f"assert ctypes.CDLL(None).syscall({number}, {first}, 0, 0, 0, 0, 0) >= 0")
        # The 32-bit call of fork, by machine code of our own.
        pieces.append(
            "m = mmap.mmap(-1, 4096, prot=7); m.write(bytes.fromhex('b802000000cd80c3')); "
            "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()"
        )
    return [f"{imports(piece)}\n{piece}\n{FORGE}" for piece in pieces]


def imports(piece):
    names = [name for name in MODULES if f"{name}." in piece]
    return "\n".join([*(f"import {name}" for name in names), *(SPECIAL[name] for name in SPECIAL if name in piece)])


def disguised(code, chance):
    """One expression that executes ``code``, in one of the ways around a plain import."""
    text = repr(textwrap.dedent(code))
    ways = (
        f"__import__('builtins').exec({text})",
        f"eval(compile({text}, 'x', 'exec'))",
        f"exec({text})",
        f"[exec({text})]",
        f"(exec({text}), 1)[1]",
        f"__import__('importlib').import_module('builtins').exec({text}, {{}})",
        f"getattr(__import__('built' + 'ins'), 'ex' + 'ec')({text}, {{'n': {chance.random()}}})",
        f"exec(bytes.fromhex('{code.encode().hex()}').decode())",
    )
    return chance.choice(ways)


def hostile_answers(count, *, seed, endless, **targets):
    """``count`` answers: code in disguise, heavy code, ``endless`` pieces that never end, and plain bad text."""
    chance = random.Random(seed)
    pieces = code_pieces(**targets)
    chance.shuffle(pieces)
    answers = [disguised(line, chance) for line in ENDLESS.strip().splitlines()[:endless]]
    answers += [disguised(line, chance) for line in HEAVY.strip().splitlines()] + list(PLAIN)
    chance.shuffle(answers)
    answers = answers[: count // 2]
    answers += [disguised(pieces[place % len(pieces)], chance) for place in range(count - len(answers))]
    chance.shuffle(answers)
    return answers
